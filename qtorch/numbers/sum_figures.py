"""What sums of products are made with and rescaled by in one step of training: numbers of a layer's output channels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from qtorch.numbers.straight_through import Ends

__all__ = ["LearnedFigures", "LinearFigures", "SumFigures"]

#: Of as many numbers PyTorch's calls, some of them on several cores, are no slower than NumPy's.
_MANY = 2**13


class SumFigures(NamedTuple):
    """Of any layer, ``[C]``; in memory that the next step overwrites.

    Attributes:
        scale: of the weight, float32.
        bias: whole numbers in units of the sums, float32; 0 without a bias.
        factor: from sums to the output's steps as the device has it, float64.
        inner: see :class:`qtorch.numbers.rescaling.Rescaling`, float64.
    """

    scale: Tensor
    bias: Tensor
    factor: Tensor
    inner: Tensor


class LearnedFigures(NamedTuple):
    """What of a linear layer's grids is learned; see :class:`qtorch.numbers.straight_through.Learned`.

    Attributes:
        limit: the weight's highest code where its scale is learned, float32 ``[]``, an array; else ``None``.
        of_weight: by what the gradient of that scale is multiplied.
        kind: of the output's scale, ``""`` where that is measured.
        share: by what its gradient is multiplied.
        rectifies: whether a fused activation set the output's lower end.
    """

    limit: Any = None
    of_weight: float = 0.0
    kind: str = ""
    share: float = 0.0
    rectifies: bool = False


class LinearFigures(NamedTuple):
    """Of a linear layer, as arrays.

    Attributes:
        sums: see there.
        weight: real numbers, float32 ``[O, I]``; in memory that the next step overwrites, as the next four are.
        column: the weight's scale, ``[O, 1]`` over the memory of ``sums``, as the next three are ``[O]``.
        bias: as in ``sums``.
        factor: likewise.
        inner: likewise.
        ratio: the input's scale by the output's, float32 ``[]``.
        per_unit: the input's scale's reciprocal, likewise.
        low: the lowest step of the output, likewise.
        high: the highest one.
        most: up to how many samples NumPy, which has one core, takes less time than PyTorch.
        learned: ``None`` where all grids are measured.
    """

    sums: SumFigures
    weight: Any
    column: Any
    bias: Any
    factor: Any
    inner: Any
    ratio: Any
    per_unit: Any
    low: Any
    high: Any
    most: int
    learned: LearnedFigures | None = None

    @staticmethod
    def of(sums: SumFigures, weight: Any, source: float, output: float, ends: Ends) -> LinearFigures:
        """From the scales of input and output."""
        scale, bias, factor, inner = (each.numpy() for each in sums)
        most = _MANY // max(weight.shape) if weight.size <= _MANY else -1
        numbers = _numbers(source, output, ends)
        return LinearFigures(sums, weight, scale[:, None], bias, factor, inner, *numbers, most)

    def with_grids(self, source: float, output: float, ends: Ends, learned: LearnedFigures) -> LinearFigures:
        """The same with scales and ends as they are now."""
        return LinearFigures(*self[:6], *_numbers(source, output, ends), self.most, learned)


def _numbers(source: float, output: float, ends: Ends) -> tuple[Any, Any, Any, Any]:
    """Ratio, reciprocal and ends: arrays, because NumPy takes twice as long to look at a Python number."""
    figures = np.array([source / output, 1 / source, ends.low, ends.high], dtype=np.float32)
    ratio, per_unit, low, high = (figures[place, ...] for place in range(4))
    return ratio, per_unit, low, high
