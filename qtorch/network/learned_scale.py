"""A scale that is learned as its natural logarithm, as the device has it."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from qtorch.numbers.functional import exponential
from qtorch.numbers.short_mantissa import nearest_short

__all__ = ["LearnedScale", "ScaleNow"]


class ScaleNow(NamedTuple):
    """A learned scale of one tensor.

    Attributes:
        scale: float32 ``[]``, without gradient.
        free: whether it is what was learned, and not the smallest that there may be: bool, or bool ``[]``.
        number: the scale as a number, where those are read.
        zero_point: a learned one, likewise.
    """

    scale: Tensor
    free: Any
    number: float | None = None
    zero_point: int | None = None


class LearnedScale:
    """That of a tensor whose quantizer learns it.

    Attributes:
        now: while a network is called, which works those of all tensors out side by side; else ``None``, since any
            code may write to a parameter.
    """

    def __init__(self) -> None:
        self.now: ScaleNow | None = None

    def of(self, log_scale: Tensor, smallest: Tensor) -> ScaleNow:
        """As it is now.

        Args:
            log_scale: the parameter, float32 ``[]``.
            smallest: what the scale is at least, likewise.
        """
        now = self.now
        if now is not None:
            return now
        wanted = nearest_short(exponential(log_scale.detach()))
        return ScaleNow(wanted.clamp_min(smallest), wanted >= smallest)
