"""The batch norms of a prepared network, which is asked for them where they stand: others may have been put there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
        #: Of batch norms that are frozen, by place: their statistics, how often those were written to, copies.
        self._kept: dict[int, tuple[list[Tensor], list[int], list[Tensor]]] = {}
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

    def take_for_call(self) -> None:
        """The same in front of a call of the network; and let batch norms that are frozen have their statistics.

        Whoever measures those anew for averaged weights (``update_bn``, Lightning's SWA) resets them, takes away the
        momentum and calls the network. A frozen norm's are constants that weights were trained with: others, also what
        the average would measure, are another network.
        """
        self.take()
        for place, (*_, op) in enumerate(self._places):
            if not op.norm_frozen:
                self._kept.pop(place, None)
            elif op.norm is not None:
                self._hold(place, op.norm)

    @torch.no_grad()
    def _hold(self, place: int, norm: BatchNorm) -> None:
        now = [each for each in (norm.running_mean, norm.running_var) if each is not None]
        if any(each.is_inference() for each in now):
            # Of these nobody counts how often they were written to.
            return
        tensors, versions, copies = self._kept.get(place, ([], [], []))
        written = [each._version for each in now]
        if written == versions and all(a is b for a, b in zip(now, tensors, strict=True)):
            return
        if norm.momentum is not None:
            copies = [each.clone() for each in now]
        elif copies:
            for each, copied in zip(now, copies, strict=True):
                each.copy_(copied)
            written = [each._version for each in now]
        else:
            # One that never had a momentum: of it nobody can tell.
            return
        self._kept[place] = now, written, copies
