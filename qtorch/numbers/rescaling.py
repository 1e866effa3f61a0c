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

from typing import NamedTuple

import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import power_of_two, quantize_multiplier, reduced_mantissa

__all__ = [
    "Rescaling",
    "is_exact",
    "on_grid",
    "rescale",
    "rescale_any",
    "rescaling",
    "rescaling_of_16_bits",
    "round_products_",
    "split_factor_",
]

#: Sums below this are rescaled exactly whatever the factor: by the bits of its mantissa, 31 or 15.
_ANY_FACTOR = {31: 2**21, 15: 2**38}
#: With factors from here on, results that int8 holds are exact whatever the sum.
_ANY_SUM = 2.0**-15

_EXPONENT_BITS = 0x7FF0000000000000
#: TFLite Micro takes factors below 2**-32 for 0.
_BELOW_SMALLEST = 2.0**-32 * (1 - 2.0**-53)


class Rescaling(NamedTuple):
    """A real factor, any shape, as the device has it; float64.

    ``factor`` itself; ``inner``, half of what the first rounding rounds to, 0 where that are whole numbers, as where
    there is one rounding in all; ``offset``, one half more than ``inner``; ``factor32``, the factor in float32, for
    gradients.
    """

    factor: Tensor
    inner: Tensor
    offset: Tensor
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
    factor, inner = real.clone(), torch.empty_like(real)
    split_factor_(factor.view(torch.int64), inner.view(torch.int64))
    inner.fmod_(0.5)
    factor = torch.threshold_(factor, _BELOW_SMALLEST, 0.0)
    return Rescaling(factor, inner, inner + 0.5, factor.to(torch.float32))


def split_factor_(bits: Tensor, leading: Tensor) -> None:
    """Round factors to 31 bits, and find their leading bit ``2**-(1 + e)``.

    From one half on there is no second rounding: the remainder of a division by 1/2 is :attr:`Rescaling.inner`.

    Args:
        bits: of positive factors in float64, as int64; overwritten.
        leading: where to put the bits of the leading bit's value, likewise.
    """
    # The nearest number of 31 bits, ties upwards: a carry goes into the exponent by itself.
    bits.add_(1 << 21).bitwise_and_(-(1 << 22))
    torch.bitwise_and(bits, _EXPONENT_BITS, out=leading)


def rescaling_of_16_bits(real: Tensor) -> Rescaling:
    """Of a real factor for the one rounding of :func:`qtorch.numbers.fixedpoint.requantize_wide`."""
    mantissa, shift = quantize_multiplier(real)
    factor = reduced_mantissa(mantissa).to(torch.float64) * power_of_two(shift - 15)
    inner = torch.zeros_like(factor)
    return Rescaling(factor, inner, inner + 0.5, factor.to(torch.float32))


def is_exact(largest_sum: float, factor: Tensor, mantissa_bits: int) -> bool:
    """Whether :func:`rescale` is exact for sums up to ``largest_sum``; may read a number from the device."""
    if largest_sum < _ANY_FACTOR[mantissa_bits]:
        return True
    return mantissa_bits == 31 and bool(factor.min() >= _ANY_SUM)


def rescale(
    sums: Tensor,
    rescaling: Rescaling,
    rectified: bool = False,
    out: Tensor | None = None,
    judged: Tensor | None = None,
) -> Tensor:
    """Whole numbers, float64, from whole ``sums`` times ``rescaling.factor``; not held between any bounds.

    Args:
        sums: any shape. Which are exact says :func:`is_exact`.
        rescaling: broadcasts to ``sums``.
        rectified: negative results do not matter, since they will be held at 0 from below.
        out: where to put them; may be ``sums``.
        judged: float32; where to put what says which results are on the grid, see :func:`on_grid`.
    """
    # Beside a factor without axes PyTorch would keep float32.
    sums = sums if rescaling.factor.dim() else sums.to(torch.float64)
    return round_products_(torch.mul(sums, rescaling.factor, out=out), rescaling, rectified, judged)


def round_products_(
    products: Tensor, rescaling: Rescaling, rectified: bool = False, judged: Tensor | None = None
) -> Tensor:
    """:func:`rescale` of sums that are multiplied already; overwrites ``products``, float64."""
    if rectified and judged is None:
        return products.add_(rescaling.offset).floor_()
    # Rectified, all that is negative stays so, and is told apart by how far.
    products.add_(torch.copysign(rescaling.offset if rectified else rescaling.inner, products))
    if not rectified:
        products.add_(0.5).floor_()
    if judged is not None:
        judged.copy_(products)
    return products.floor_() if rectified else products


def on_grid(low: float, high: float, rectified: bool) -> tuple[float, float]:
    """Between which numbers, themselves left out, ``judged`` of :func:`rescale` says that the device has a code.

    That is where its two roundings end on the grid, not where one would: of a factor of 0.3, say, the first rounds to
    halves, so that -0.26 becomes -1, which is beyond the lower end of a grid that starts at 0.

    Of results that are rectified, and then right from 0 up alone, ``judged`` is not rounded yet: negative ones are
    ``p - offset``, which is -1 where the device begins to round to 0, itself included: the next float32 is the bound.
    What lies within float32's precision of an end may be taken for the end.
    """
    return (-1.0 - 2.0**-23, high + 1.0) if rectified else (low - 0.5, high + 0.5)


def rescale_any(sums: Tensor, rescaling: Rescaling, rectified: bool = False) -> Tensor:
    """Whole numbers, float64, from whole ``sums`` times ``rescaling.factor``; not held between any bounds.

    The factor's first 12 bits and the others are multiplied apart. A sum of 32 bits (one of 41, where the mantissa has
    15) times either is exact, and so are the two roundings that follow, one after the other.

    Args:
        sums: float64, below 2**31, or 2**41 with :func:`rescaling_of_16_bits`.
        rescaling: broadcasts to ``sums``.
        rectified: see :func:`rescale`, which gives the same negative results then.
    """
    factor, inner, *_ = rescaling
    step = torch.where(inner > 0, 2 * inner, 1.0)
    high = factor.view(torch.int64).bitwise_and(-(1 << 41)).view(torch.float64)
    first = sums * (high / step)
    whole = torch.floor(first)
    rounded = whole + torch.floor((first - whole) + sums * ((factor - high) / step) + 0.5)
    return torch.floor(rounded * step + (0.5 if rectified else torch.where(rounded < 0, 0.5 - 2 * inner, 0.5)))
