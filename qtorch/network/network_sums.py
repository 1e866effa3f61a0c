"""What is worked out for a whole network before it is called: learned scales, and figures of sums of products."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.modules import module as all_modules

from qtorch.network.learned_scale import ScaleNow
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.network.read_once import ReadOnce
from qtorch.network.sums_together import Together
from qtorch.numbers.functional import exponential
from qtorch.surroundings import without_values

__all__ = ["NetworkSums"]


class NetworkSums:
    """What of one network is worked out side by side.

    Args:
        network: of :class:`qtorch.network.quantized_op.QuantizedOp`.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = list(network.modules())
        self._ops = tuple(op for op in modules if isinstance(op, QuantizedOp) and op.has_weight)
        grids = [(op, op.constants.weight_grid) for op in self._ops if op.constants.learned_scale is not None]
        self._weights = [(op, grid) for op, grid in grids if grid is not None]
        self._quantizers = tuple(each for each in modules if isinstance(each, Quantizer) and each.learned != "measured")
        # What may be called in the middle of a call, and write to parameters.
        self._hooks = [each._forward_pre_hooks for each in modules]
        self._hooks += [each._forward_hooks for each in modules if each is not network]
        self._hooks += [all_modules._global_forward_pre_hooks, all_modules._global_forward_hooks]
        self._together, self._read = Together(()), ReadOnce()
        # Threads may call one network: an element for each call that is not over.
        self._calls: list[None] = []

    def give(self, inputs: Iterable[Tensor]) -> None:
        """Give quantizers and layers what they need in one call with ``inputs``, in training; figures on a CPU only.

        With hooks everyone looks at its own parameters, when it is its turn; and in a call beside others, whose memory
        is not overwritten.
        """
        if is_compiling():
            return
        self._calls.append(None)
        if len(self._calls) > 1 or not torch.is_grad_enabled() or any(self._hooks):
            return
        if any(without_values(each) for each in inputs):
            return
        if self._quantizers or self._weights:
            self._give_scales()
        layers = [op for op in self._ops if op.sums_together and Together.takes_now(op)]
        if not layers:
            return
        if self._together.layers != tuple(layers):
            self._together = Together(layers)
        for op, figures in zip(layers, self._together.compute(), strict=True):
            op.constants.figures = figures

    def take_back(self) -> None:
        """What was given, when the call is over: until the next one, any code may write to parameters."""
        if is_compiling():
            return
        del self._calls[-1:]
        for op in self._ops:
            op.constants.figures = None
        for quantizer in self._quantizers:
            quantizer.learned_scale.now = None
        for _, grid in self._weights:
            grid.learned_now = None

    @torch.no_grad()
    def _give_scales(self) -> None:
        logarithms = [each.log_scale for each in self._quantizers]
        of_weights = [op.log_weight_scale for op, _ in self._weights]
        if len({(each.dtype, each.device) for each in (*logarithms, *of_weights)}) > 1:
            return
        wanted = exponential(torch.cat([each.flatten() for each in (*logarithms, *of_weights)]))
        count = len(logarithms)
        if count:
            smallest = tuple(each.smallest for each in self._quantizers)
            scales = torch.maximum(wanted[:count], self._read(smallest, "all", lambda: torch.stack(smallest)))
            free = scales == wanted[:count]
            # Nothing is read from another device.
            numbers = scales.tolist() if scales.is_cpu else [None] * count
            each_free = free.tolist() if scales.is_cpu else free.unbind()
            for quantizer, *now in zip(self._quantizers, scales.unbind(), each_free, numbers, strict=True):
                quantizer.learned_scale.now = ScaleNow(*now)
        parts = wanted[count:].split([each.numel() for each in of_weights])
        for (_, grid), part, logarithm in zip(self._weights, parts, of_weights, strict=True):
            grid.learned_now = part.view(logarithm.shape)
