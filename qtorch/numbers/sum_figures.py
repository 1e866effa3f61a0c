"""What sums of products are made with and rescaled by in one step of training: numbers of a layer's output channels."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from qtorch.numbers.straight_through import Ends

__all__ = ["LinearFigures", "SumFigures"]


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
    """Of a linear layer.

    Attributes:
        sums: see there.
        column: the weight's scale, an array ``[C, 1]`` over the same memory, as the next three are ``[C]``.
        bias: as in ``sums``.
        factor: likewise.
        inner: likewise.
        ratio: the input's scale by the output's.
        per_step: how many steps of the output a unit is.
        ends: of the output, as numbers.
    """

    sums: SumFigures
    column: Any
    bias: Any
    factor: Any
    inner: Any
    ratio: float
    per_step: float
    ends: Ends
