"""The batch norms of a prepared network, which is asked for them where they stand: others may have been put there."""

from __future__ import annotations

from torch import nn

from qtorch.errors import BadConfiguration
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
            if isinstance(norm, BatchNorm) and norm.momentum is None and norm.training and op.norm_frozen:
                _require_statistics(norm)


def _require_statistics(norm: BatchNorm) -> None:
    """Refuse to measure anew what a frozen norm has, which then would have nothing.

    Raises:
        BadConfiguration: its statistics were reset, as ``torch.optim.swa_utils.update_bn`` does.
    """
    if norm.num_batches_tracked is not None and not int(norm.num_batches_tracked):
        raise BadConfiguration(
            where="a frozen batch norm",
            expected="running statistics, which it uses in training too",
            got="none: they were reset to be measured anew, as torch.optim.swa_utils.update_bn does",
            remedy="call qtorch.freeze_batch_norm(network, False) before update_bn, and freeze again after it",
        )
