"""Fixed-point requantization, the only copy of it: a real factor becomes a Q31 mantissa and a power of two.

Mirrors ``QuantizeMultiplier`` (TFLM ``kernels/internal/quantization_util.cc``) and ``MultiplyByQuantizedMultiplier``
(``kernels/internal/common.cc``), which TFLM builds with two roundings and LiteRT's reference kernels with one.
All functions are elementwise on int64 tensors that hold int32 values; shapes broadcast as usual.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from qtorch.errors import AccumulatorOverflow

__all__ = [
    "Multiplier",
    "Rounding",
    "fits_int32",
    "power_of_two",
    "quantize_multiplier",
    "reduced_mantissa",
    "requantize",
    "requantize_wide",
]

_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1


class Rounding(Enum):
    """How a product with a Q31 mantissa becomes an int32.

    DOUBLE: high half of the doubled product rounded, then the right shift rounded (TFLM, CMSIS-NN).
    SINGLE: one rounding at the end (LiteRT's reference kernels, ``TFLITE_SINGLE_ROUNDING``).
    EARLIER: as DOUBLE, but some kernels take products and quotients of scales in float32 before they make a multiplier
    of them: TFLM until 13 October 2026, and so every port of it for boards up to then.
    """

    DOUBLE = "double"
    SINGLE = "single"
    EARLIER = "double, scales in float32"

    @property
    def of_scales(self) -> torch.dtype:
        """In which type kernels that differ in it divide scales."""
        return torch.float64 if self is Rounding.DOUBLE else torch.float32


class Multiplier(NamedTuple):
    """``mantissa * 2**(shift - 31)``; mantissa int64 in ``[2**30, 2**31)`` or 0, shift int64, at least -31."""

    mantissa: Tensor
    shift: Tensor


def quantize_multiplier(real: Tensor) -> Multiplier:
    """The Q31 mantissa and shift nearest to ``real`` (float64, not negative, any shape).

    Rounds half away from zero, carries a mantissa of 2**31 into the shift, and flushes factors below about 2**-32 to
    0, as TFLM does.
    """
    fraction, exponent = torch.frexp(real.to(torch.float64))
    mantissa = torch.floor(fraction * 2.0**31 + 0.5).to(torch.int64)
    shift = exponent.to(torch.int64)
    carry = mantissa == 2**31
    mantissa = torch.where(carry, mantissa >> 1, mantissa)
    shift = torch.where(carry, shift + 1, shift)
    flushed = shift < -31
    return Multiplier(
        torch.where(flushed, torch.zeros_like(mantissa), mantissa),
        torch.where(flushed, torch.zeros_like(shift), shift),
    )


def _overflow(what: str, expected: str, got: str) -> AccumulatorOverflow:
    remedy = "give the layer fewer inputs or smaller weights, normalize its inputs, or calibrate again: its output's "
    remedy += "grid may be too fine"
    return AccumulatorOverflow(where=what, expected=f"{expected}, as the device has them", got=got, remedy=remedy)


def fits_int32(x: Tensor, what: str) -> Tensor:
    """``x`` itself, if every value is an int32.

    Raises:
        AccumulatorOverflow: a value is not; the device would wrap or saturate silently.
    """
    if x.numel():
        low, high = (int(v) for v in torch.aminmax(x))
        if low < _INT32_MIN or high > _INT32_MAX:
            raise _overflow(what, "int32 values", f"{low}..{high}")
    return x


def requantize(x: Tensor, multiplier: Multiplier, rounding: Rounding = Rounding.DOUBLE) -> Tensor:
    """``x * real`` as the device computes it.

    Args:
        x: int64 tensor of int32 values; overwritten.
        multiplier: broadcast against ``x``.
        rounding: which kernels are mirrored.

    Returns: int64 tensor of int32 values.

    Raises:
        AccumulatorOverflow: the left shift leaves int32, where the kernel's behaviour is undefined.
    """
    mantissa, shift = multiplier
    if rounding is Rounding.SINGLE:
        total = 31 - shift.clamp_max(30)
        half = torch.ones_like(total) << (total - 1)
        return fits_int32((x * mantissa + half) >> total, "requantized value")
    if bool((shift > 0).any()):
        x = fits_int32(x << shift.clamp_min(0), "value after the multiplier's left shift")
    return _round_twice(x, mantissa, (-shift).clamp_min(0))


def power_of_two(exponent: Tensor) -> Tensor:
    """``2**exponent``, float64, of int64 from -1022 to 1023: of its bits, since no power has to be exact."""
    return ((exponent + 1023) << 52).view(torch.float64)


def reduced_mantissa(mantissa: Tensor) -> Tensor:
    """The 16-bit kernels' Q15 mantissa for one of Q31: its upper half, rounded, held to ``2**15 - 1``."""
    return ((mantissa + 2**15) >> 16).clamp_max(2**15 - 1)


def requantize_wide(x: Tensor, multiplier: Multiplier) -> Tensor:
    """``x * real`` for accumulators of more than 32 bits, as 16-bit kernels compute it: a Q15 mantissa, one rounding.

    Args:
        x: int64 tensor of values in ``[-2**47, 2**47)``.
        multiplier: broadcast against ``x``; its shift at most 7.

    Returns: int64 tensor of int32 values.

    Raises:
        AccumulatorOverflow: ``x`` or the result is out of range.

    Source: TFLM ``kernels/internal/common.cc``, ``MultiplyByQuantizedMultiplier(int64_t, ...)``.
    """
    mantissa, shift = multiplier
    if int(shift.max()) > 7:
        raise _overflow("requantization", "a factor below 128", f"a shift of {int(shift.max())}")
    if x.numel() and int(x.abs().max()) >= 2**47:
        raise _overflow("accumulator", "values of 48 bits", f"up to {int(x.abs().max())}")
    total = 15 - shift
    half = torch.ones_like(total) << (total - 1)
    return fits_int32((x * reduced_mantissa(mantissa) + half) >> total, "requantized value")


def _round_twice(x: Tensor, mantissa: Tensor, exponent: Tensor) -> Tensor:
    """``round(round(x * mantissa / 2**31) / 2**exponent)``, exponent in [0, 31], with one shift.

    The inner rounding takes ties towards plus infinity, as ARM's SQRDMULH does: ``(x * mantissa + 2**30) >> 31``.
    gemmlowp writes it as a truncating division after a nudge that depends on the sign; both give the same, and no
    product here reaches the one case that saturates, since the mantissa is not negative.
    The outer one takes ties away from zero, as gemmlowp's RoundingDivideByPOT does: half is added before the shift, and
    one less to a negative number. Floors of floors are one floor, so both sums can go before a single shift. The inner
    result is negative where ``x`` is, but for x = -1 and mantissa 2**30, where the outer one is 0 either way.
    Every sum stays below 2**63.
    """
    half = torch.ones_like(exponent) << exponent >> 1
    total = (x * mantissa).add_((half << 31) + 2**30)
    negative = x.clamp_(-1, 0)
    rounds = exponent > 0
    total.add_(negative if bool(rounds.all()) else negative * rounds, alpha=2**31)
    return total.bitwise_right_shift_(exponent + 31)
