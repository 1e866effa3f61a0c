"""The layers of a network that make sums of products: before a call, their figures are worked out side by side."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.routes import sums_route
from qtorch.network.sum_constants import Together
from qtorch.surroundings import without_values

__all__ = ["NetworkSums"]


class NetworkSums:
    """Those of one network.

    Args:
        network: of :class:`qtorch.network.quantized_op.QuantizedOp`.
    """

    def __init__(self, network: nn.Module) -> None:
        self._ops = tuple(op for op in network.modules() if isinstance(op, QuantizedOp) and op.has_weight)
        self._together = Together(())

    def work_out(self, inputs: Iterable[Tensor]) -> list[QuantizedOp]:
        """Give the layers their figures for one call with ``inputs``, if it is one of training on a CPU; which have."""
        if not torch.is_grad_enabled() or is_compiling() or any(without_values(each) for each in inputs):
            return []
        layers = [op for op in self._ops if op.route is sums_route and Together.takes(op)]
        if not layers:
            return []
        if self._together.layers != tuple(layers):
            self._together = Together(layers)
        for op, figures in zip(layers, self._together.compute(), strict=True):
            op.figures = figures
        return layers
