"""The two roundings of a requantization in floating point: exact, and several times faster than in integers.

A real factor is ``m * 2**-(31 + e)`` on the device, ``m`` an integer in ``[2**30, 2**31)`` (see
:mod:`qtorch.numbers.fixedpoint`). Its first rounding takes a sum to whole multiples of ``2**-e``, ties towards plus
infinity; the second to whole numbers, ties away from zero. With ``p = sum * m * 2**-(31 + e)`` both together are

    ``floor(p + 1/2 + sign(sum) * 2**-(1 + e))`` where ``e > 0``, and ``floor(p + 1/2)`` where ``e <= 0``.

Proof: the first gives ``r * 2**-e`` with ``r = floor(p * 2**e + 1/2)``; the second
``floor((r + 2**(e-1) - [r < 0]) * 2**-e)``. A floor of a floor of something that was divided by an integer is one
floor, ``floor(p + 2**-(1+e) + 1/2 - 2**-e [r < 0])``, and ``r`` is negative where the sum is, but for sums so small
that all is 0 either way.

In float64 that is exact if every intermediate value is. ``p`` is a multiple of ``2**-(31 + e)``, and so is what is
added; a float64 holds 53 bits. Results that int8 can hold lie below ``2**8``, of which ``e <= 14`` leaves
``8 + 31 + 14 = 53`` bits; what lies beyond rounds to something beyond. Sums below ``2**21`` give ``|p| < 2**(21 - e)``,
for which 53 bits are enough up to ``e = 21``; beyond, ``|p| + 1/2`` is so far from any whole number but 0 that no
rounding gets there. For all other sums of 32 bits :func:`rescale_any` takes the factor in two parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import power_of_two, quantize_multiplier, reduced_mantissa

__all__ = [
    "ANY_FACTOR",
    "ANY_SUM",
    "Rescaling",
    "is_exact",
    "leading_bits_",
    "rescale",
    "rescale_any",
    "rescaling",
    "rescaling_of_16_bits",
    "round_products_",
]

#: Sums below this are rescaled exactly whatever the factor: by the bits of its mantissa, 31 or 15.
ANY_FACTOR = {31: 2**21, 15: 2**38}
#: With factors from here on, results that int8 holds are exact whatever the sum.
ANY_SUM = 2.0**-15

Integers = TypeVar("Integers", Tensor, "np.ndarray[Any, np.dtype[np.int64]]")

_EXPONENT_BITS = 0x7FF0000000000000
#: TFLite Micro takes factors below 2**-32 for 0.
_BELOW_SMALLEST = 2.0**-32 * (1 - 2.0**-53)


class Rescaling(NamedTuple):
    """A real factor, any shape, as the device has it; float64.

    ``factor`` itself; ``inner``, half of what the first rounding rounds to, 0 where that are whole numbers, as where
    there is one rounding in all; ``factor32``, the factor in float32, for gradients.
    """

    factor: Tensor
    inner: Tensor
    factor32: Tensor

    def along(self, axis: int, ndim: int) -> Rescaling:
        """Shaped to broadcast along ``axis`` of a tensor of ``ndim`` axes, one factor for all channels likewise.

        A float64 tensor without axes would leave its product with float32 sums in float32.
        """
        if self.factor.dim() == 1 and axis == ndim - 1:
            return self
        shape = [-1 if d == axis else 1 for d in range(ndim)]
        return Rescaling(*(each.reshape(shape) for each in self))


def rescaling(real: Tensor) -> Rescaling:
    """Of a real factor, float64 of any shape, for two roundings; see :func:`qtorch.numbers.fixedpoint.requantize`."""
    factor = real.clone()
    inner = leading_bits_(factor.view(torch.int64)).view(torch.float64).fmod_(0.5)
    factor = torch.threshold_(factor, _BELOW_SMALLEST, 0.0)
    return Rescaling(factor, inner, factor.to(torch.float32))


def leading_bits_(bits: Integers) -> Integers:
    """Of factors, which are rounded to 31 bits where they stand, the bits of their leading bit's value ``2**-(1 + e)``.

    From one half on there is no second rounding: the remainder of a division by 1/2 is :attr:`Rescaling.inner`.

    Args:
        bits: of positive factors in float64, as int64, a tensor or an array; overwritten.
    """
    # The nearest number of 31 bits, ties upwards: a carry goes into the exponent by itself.
    bits += 1 << 21
    bits &= -(1 << 22)
    return bits & _EXPONENT_BITS


def rescaling_of_16_bits(real: Tensor) -> Rescaling:
    """Of a real factor for the one rounding of :func:`qtorch.numbers.fixedpoint.requantize_wide`."""
    mantissa, shift = quantize_multiplier(real)
    factor = reduced_mantissa(mantissa).to(torch.float64) * power_of_two(shift - 15)
    inner = torch.zeros_like(factor)
    return Rescaling(factor, inner, factor.to(torch.float32))


def is_exact(largest_sum: float, factor: Tensor, mantissa_bits: int) -> bool:
    """Whether :func:`rescale` is exact for sums up to ``largest_sum``; may read a number from the device."""
    if largest_sum < ANY_FACTOR[mantissa_bits]:
        return True
    return mantissa_bits == 31 and bool(factor.min() >= ANY_SUM)


def rescale(sums: Tensor, rescaling: Rescaling, out: Tensor | None = None) -> Tensor:
    """Whole numbers, float64, from whole ``sums`` times ``rescaling.factor``; not held between any bounds.

    Args:
        sums: any shape. Which are exact says :func:`is_exact`.
        rescaling: broadcasts to ``sums``.
        out: where to put them; may be ``sums``.
    """
    # Beside a factor without axes PyTorch would keep float32.
    sums = sums if rescaling.factor.dim() else sums.to(torch.float64)
    return round_products_(torch.mul(sums, rescaling.factor, out=out), rescaling)


def round_products_(products: Tensor, rescaling: Rescaling) -> Tensor:
    """:func:`rescale` of sums that are multiplied already; overwrites ``products``, float64."""
    # Of many, twice as fast as copysign.
    return products.addcmul_(torch.sign(products), rescaling.inner).add_(0.5).floor_()


def rescale_any(sums: Tensor, rescaling: Rescaling) -> Tensor:
    """Whole numbers, float64, from whole ``sums`` times ``rescaling.factor``; not held between any bounds.

    The factor's first 12 bits and the others are multiplied apart. A sum of 32 bits (one of 41, where the mantissa has
    15) times either is exact, and so are the two roundings that follow, one after the other.

    Args:
        sums: float64, below 2**31, or 2**41 with :func:`rescaling_of_16_bits`.
        rescaling: broadcasts to ``sums``.
    """
    factor, inner, *_ = rescaling
    step = torch.where(inner > 0, 2 * inner, 1.0)
    high = factor.view(torch.int64).bitwise_and(-(1 << 41)).view(torch.float64)
    first = sums * (high / step)
    whole = torch.floor(first)
    rounded = whole + torch.floor((first - whole) + sums * ((factor - high) / step) + 0.5)
    return torch.floor(rounded * step + torch.where(rounded < 0, 0.5 - 2 * inner, 0.5))
