"""Parameters that one process holds whole: what is quantized needs the largest of all weights of a channel."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from qtorch.errors import BadConfiguration
from qtorch.ranges.observer import is_distributed

__all__ = ["SHARDING_REMEDY", "require_whole"]

SHARDING_REMEDY = (
    "train with DistributedDataParallel (Lightning: --trainer.strategy ddp), in which every process has the network"
)
#: What FSDP, of either version, writes on the modules whose parameters it takes.
_SHARDED = "_is_fsdp_managed_module"


def require_whole(modules: Iterable[nn.Module]) -> None:
    """Refuse modules whose parameters are, or may become, shards of what they were.

    Raises:
        BadConfiguration: FSDP has them, or a parameter is empty, as ZeRO leaves it.
    """
    if not is_distributed():
        # Nothing to shard with, nor to ask in every step.
        return
    for module in modules:
        sharded = _SHARDED in module.__dict__
        if sharded or any(each is not None and not each.numel() for each in module._parameters.values()):
            raise BadConfiguration(
                where=f"parameters of {type(module).__name__}({module.extra_repr()})",
                expected="all of their numbers in every process",
                got="FSDP's shards" if sharded else "one without numbers, as sharding leaves it between steps",
                remedy=SHARDING_REMEDY,
            )
