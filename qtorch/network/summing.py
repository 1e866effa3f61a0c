"""In which floating-point type whole numbers are summed without rounding, whatever the order of the sum."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from qtorch.errors import AccumulatorOverflow
from qtorch.numbers.functional import WEIGHT_RANGE
from qtorch.numbers.rescaling import Rescaling, is_exact
from qtorch.surroundings import without_values

__all__ = ["Summing", "largest_products", "require_results", "require_sums", "summing_of"]

#: float32 holds every whole number up to here.
_FLOAT32 = 2.0**24
#: The largest sum that an accumulator holds, by the bits of the factor that it is multiplied with.
_ACCUMULATOR = {31: 2.0**31, 15: 2.0**47}
#: And the largest result of the 16-bit kernels before it saturates.
_RESULT = 2.0**31


class Summing(NamedTuple):
    """How one layer's sums are made.

    ``dtype``: in which products are summed. ``with_bias``: whether the bias can be added in it. ``largest``: no sum is
    larger; infinite where that was not looked at. ``mantissa_bits``: of the factors that the sums are rescaled with.
    """

    dtype: torch.dtype
    with_bias: bool
    largest: float
    mantissa_bits: int

    @property
    def checked(self) -> bool:
        """Whether numbers may be read from the device where they are."""
        return self.largest != float("inf")

    def any_sum(self, factors: Rescaling) -> bool:
        """Whether they have to be rescaled in a way that holds for all sums."""
        return not self.checked or not is_exact(self.largest, factors.factor, self.mantissa_bits)

    @property
    def may_overflow(self) -> bool:
        """Whether a sum may be larger than the device's accumulators hold, as far as that was looked at."""
        return self.checked and self.largest >= _ACCUMULATOR[self.mantissa_bits]


def summing_of(x: Tensor, weight: Tensor, bias: Tensor | None, axis: int, reach: int, dtype: str) -> Summing:
    """The cheapest that is exact.

    Args:
        x: input, in steps.
        weight: in steps, output channels along ``axis``.
        bias: in steps, float64 ``[C]``, or ``None``.
        axis: see ``weight``.
        reach: the largest step of the input's grid.
        dtype: of the activations.
    """
    products = largest_products(weight, axis, reach)
    wide = dtype != "int8"
    if weight.device.type != "cpu" or is_compiling() or without_values(x):
        # In the middle of a step nothing is read from another device.
        return Summing(torch.float32 if products < _FLOAT32 and not wide else torch.float64, False, float("inf"), 31)
    if products >= _FLOAT32:
        magnitudes = weight.detach().abs().movedim(axis, 0).flatten(1).sum(1, dtype=torch.float64)
        products = reach * float(magnitudes.amax())
    largest = products + (0.0 if bias is None else float(bias.detach().abs().amax()))
    if wide:
        return Summing(torch.float64, True, largest, 15)
    narrow = products < _FLOAT32
    return Summing(torch.float32 if narrow else torch.float64, not narrow or largest < _FLOAT32, largest, 31)


def largest_products(weight: Tensor, axis: int, reach: int) -> float:
    """No sum of products of int8 weights, of ``weight``'s shape, with steps up to ``reach`` is larger."""
    return float(reach * WEIGHT_RANGE["int8"][1] * (weight.numel() // weight.shape[axis]))


def require_sums(sums: Tensor, dtype: str) -> None:
    """Refuse ``sums`` that the device's accumulators do not hold.

    Raises:
        AccumulatorOverflow: so one is.
    """
    _require_below(_ACCUMULATOR[31 if dtype == "int8" else 15], sums, "int32" if dtype == "int8" else "48-bit")


def require_results(sums: Tensor, summing: Summing, rescaling: Rescaling) -> None:
    """Refuse ``sums`` whose results 16-bit kernels do not hold.

    Raises:
        AccumulatorOverflow: so one is.
    """
    if summing.checked and summing.largest * float(rescaling.factor.amax()) >= _RESULT:
        _require_below(_RESULT, sums * rescaling.factor, "int32")


def _require_below(limit: float, values: Tensor, holds: str) -> None:
    if not values.numel():
        return
    low, high = (float(v) for v in torch.aminmax(values.detach()))
    if max(-low, high) >= limit:
        raise AccumulatorOverflow(
            where="accumulator",
            expected=f"{holds} values, as the device has them",
            got=f"{low:.0f}..{high:.0f}",
            remedy="give the layer fewer inputs or smaller weights, or normalize its inputs",
        )
