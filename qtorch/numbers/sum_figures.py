"""What sums of products are made with and rescaled by in one step of training: numbers of a layer's output channels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from qtorch.numbers.straight_through import Ends

__all__ = ["LinearFigures", "SumFigures"]

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

    @staticmethod
    def of(sums: SumFigures, weight: Any, source: float, output: float, ends: Ends) -> LinearFigures:
        """From the scales of input and output."""
        scale, bias, factor, inner = (each.numpy() for each in sums)
        # Arrays, because NumPy takes twice as long to look at a Python number.
        ratio, per_unit, low, high = (
            np.array(each, dtype=np.float32) for each in (source / output, 1 / source, ends.low, ends.high)
        )
        most = _MANY // max(weight.shape) if weight.size <= _MANY else -1
        return LinearFigures(sums, weight, scale[:, None], bias, factor, inner, ratio, per_unit, low, high, most)
