"""The learned scales of a network, worked out side by side for one call of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.network.learned_scale import ScaleNow
from qtorch.network.parameter_memory import ParameterMemory
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.network.read_once import ReadOnce
from qtorch.numbers.functional import exponential
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.short_mantissa import nearest_short

__all__ = ["LearnedScales"]


class LearnedScales:
    """Those of quantizers and of weights.

    Args:
        quantizers: whose scale is learned.
        ops: the layers whose weight's scale is.
    """

    def __init__(self, quantizers: Sequence[Quantizer], ops: Sequence[QuantizedOp]) -> None:
        self._quantizers, self._ops, self._read = tuple(quantizers), tuple(ops), ReadOnce()
        self._grids = [grid for op in ops if (grid := op.constants.weight_grid) is not None]
        self._with_zero = [place for place, each in enumerate(quantizers) if "zero_share" in each._parameters]
        #: On a CPU, in float32.
        self._memory: ParameterMemory | None = None

    def __bool__(self) -> bool:
        return bool(self._quantizers or self._ops)

    @torch.no_grad()
    def give(self) -> None:
        """Let quantizers and grids of weights have what they learned, until :meth:`forget`; nothing where types or
        devices are mixed."""
        logarithms = [each.log_scale for each in self._quantizers]
        of_weights = [op.log_weight_scale for op in self._ops]
        zeros = [self._quantizers[place].zero_share for place in self._with_zero]
        tensors = [*logarithms, *of_weights]
        if len({(each.dtype, each.device) for each in (*tensors, *zeros)}) > 1:
            return
        few = tensors[0].is_cpu and tensors[0].dtype is torch.float32
        wanted = exponential(self._gathered() if few else torch.cat([each.flatten() for each in tensors]))
        short, count = nearest_short(wanted), len(logarithms)
        if count:
            smallest = self._read(tuple([each.smallest for each in self._quantizers]), "least", self._smallest)
            scales = torch.maximum(short[:count], smallest)
            free: Any = scales == short[:count]
            # Nothing is read from another device.
            numbers = (free.tolist(), scales.tolist(), self._zero_points()) if few else (free.unbind(),)
            for quantizer, *now in zip(self._quantizers, scales.unbind(), *numbers, strict=True):
                quantizer.learned_scale.now = ScaleNow(*now)
        place = count
        for grid, logarithm in zip(self._grids, of_weights, strict=True):
            part = (short if grid.short else wanted)[place : place + logarithm.numel()]
            grid.learned_now, place = part.view(logarithm.shape), place + len(part)

    def _gathered(self) -> Tensor:
        """All logarithms."""
        if self._memory is None or not self._memory.stays():
            places: list[tuple[Any, str]] = [(each._parameters, "log_scale") for each in self._quantizers]
            places += [(op._parameters, "log_weight_scale") for op in self._ops]
            places += [(self._quantizers[place]._parameters, "zero_share") for place in self._with_zero]
            self._memory = ParameterMemory(places)
        arrays = self._memory.arrays[: len(self._quantizers) + len(self._ops)]
        return torch.from_numpy(np.concatenate([each.reshape(-1) for each in arrays]))

    def _zero_points(self) -> list[int | None]:
        """Those that are learned, by quantizer; what is no number is looked at where it is needed."""
        found: list[int | None] = [None] * len(self._quantizers)
        if self._with_zero and self._memory is not None:
            low, high = CODE_RANGE["int8"]
            shares = np.array(self._memory.arrays[-len(self._with_zero) :])
            whole = np.clip(np.rint(shares * np.float32(256)), low, high).tolist()
            for place, each in zip(self._with_zero, whole, strict=True):
                found[place] = None if each != each else int(each)
        return found

    def _smallest(self) -> Tensor:
        return torch.stack([each.smallest for each in self._quantizers])

    def forget(self) -> None:
        """What was given."""
        for quantizer in self._quantizers:
            quantizer.learned_scale.now = None
        for grid in self._grids:
            grid.learned_now = None
