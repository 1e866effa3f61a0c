"""The batch norms of a prepared network, which is asked for them where they stand: others may have been put there."""

from __future__ import annotations

from torch import nn

from qtorch.network.batch_norm import BatchNorm
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.synchronized_norm import SynchronizedNorm

__all__ = ["StandingNorms"]


class StandingNorms:
    """Those of one network.

    ``nn.SyncBatchNorm.convert_sync_batchnorm``, and a trainer with ``sync_batchnorm``, put modules over the same
    parameters and buffers in their place, and take them away at the end.

    Args:
        network: of :class:`qtorch.network.quantized_op.QuantizedOp`.

    Attributes:
        ops: all of the network.
    """

    def __init__(self, network: nn.Module) -> None:
        self._places: list[tuple[dict[str, nn.Module | None], str, QuantizedOp]] = []
        where = {
            child: (parent._modules, name)
            for parent in network.modules()
            for name, child in parent._modules.items()
            if isinstance(child, BatchNorm)
        }
        self.ops = tuple(op for op in network.modules() if isinstance(op, QuantizedOp))
        for op in self.ops:
            if op.norm in where:
                self._places.append((*where[op.norm], op))
        self.take()

    def take(self) -> None:
        """Let every layer have the batch norm that stands there now."""
        for modules, name, op in self._places:
            norm = modules[name]
            if isinstance(norm, nn.SyncBatchNorm):
                norm.__class__ = SynchronizedNorm  # type: ignore[assignment]
            if norm is not op.norm and isinstance(norm, BatchNorm):
                op.constants.norm = norm
