"""Requantization of sums and products of steps in floating point, with a gradient: what rows' ``in_steps`` share.

The device's factor is ``m * 2**-(31 + e)``, m of 31 bits, and applied in two roundings: at ``2**-e``, ties upwards, and
at whole numbers, ties away from zero. Floors of floors are one floor, so for a whole number x and ``p = x * factor``

    ``floor(p + 1/2 + sign(x) * 2**-(1 + e))``, and ``floor(p + 1/2)`` where e <= 0,

is both (:func:`qtorch.numbers.fixedpoint.requantize` says why). In float64 every number in it is exact while
``|x| < 2**21``: p has 52 bits, or lies below one half. For greater x the mantissa is split into 16 and 15 bits,

    ``x * m = 2**15 * (x * upper) + x * lower``,

each product of at most 47 bits; what the floor of the second one's 2**15th loses is less than one unit of the sum's
last place, in which every number that is added has an integer: no floor behind it sees that. So ``|x| < 2**31`` is
exact, and so is every shift to the left, which the device has only where the result fits int32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import Multiplier
from qtorch.numbers.grid import Grid
from qtorch.row.fused_activation import FUSED_ACTIVATIONS

__all__ = ["EXACT_AT_ONCE", "requantized", "step_limits", "within"]

#: Below it a whole number's product with any factor of 31 bits, and what is added to round it, is exact in float64.
EXACT_AT_ONCE = 2**21


def requantized(x: Tensor, multiplier: Multiplier, reach: int) -> Tensor:
    """:func:`qtorch.numbers.fixedpoint.requantize` with two roundings, float64; no gradient.

    Args:
        x: whole numbers, float32 or float64.
        multiplier: broadcast against ``x``, on its device.
        reach: no ``x`` is further from zero; below 2**31.
    """
    mantissa, shift = multiplier.mantissa.to(torch.float64), multiplier.shift
    x, exponent = x.to(torch.float64), (-shift).clamp_min(0)
    nudge = _power_of_two(-1 - exponent) * (exponent > 0)
    if reach < EXACT_AT_ONCE:
        p = x * (mantissa * _power_of_two(shift - 31))
    else:
        upper = torch.floor(mantissa * 2.0**-15)
        lower = mantissa - upper * 2**15
        left = _power_of_two(shift.clamp_min(0))
        p = torch.floor(x * (lower * left * 2.0**-15)).addcmul_(x, upper * left)
        p.mul_(_power_of_two(-16 - exponent))
    return p.addcmul_(torch.sign(x), nudge).add_(0.5).floor_()


def _power_of_two(exponent: Tensor) -> Tensor:
    """float64, by its bits: no device's power function is asked."""
    return ((exponent + 1023) << 52).view(torch.float64)


def step_limits(activation: str, grid: Grid) -> tuple[Tensor, Tensor]:
    """Lowest and highest output step of a kernel with a fused activation, float64 ``[]`` on the grid's device.

    :func:`qtorch.row.fused_activation.activation_limits` less the zero point, without reading a number.
    """
    zero_point = grid.zero_point.to(torch.float64)
    low, high = (end - zero_point for end in grid.limits)
    if activation in FUSED_ACTIVATIONS:
        low = low.clamp_min(0)
    if activation == "relu6":
        # Of two tensors: a number in front would be multiplied by the reciprocal.
        steps = torch.full_like(grid.scale, 6.0) / grid.scale
        high = torch.minimum(high, torch.floor(steps.to(torch.float64) + 0.5))
    return low, high


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: Tensor, low: Tensor, high: Tensor, factor: Tensor) -> Tensor:
        held = steps.clamp(low, high)
        ctx.save_for_backward(held == steps, factor)
        return held.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        inside, factor = ctx.saved_tensors
        return grad * inside * factor, None, None, None, None


def within(x: Tensor, steps: Tensor, limits: tuple[Tensor, Tensor], factor: Tensor) -> Tensor:
    """``steps`` between ``limits``, float32, with a gradient for the ``x`` that they were computed from.

    It is ``factor`` where a step lies between the limits before it is held there, and else zero.

    Args:
        x: of the result's shape.
        steps: whole numbers, float64.
        limits: float64 ``[]``.
        factor: float32, broadcast.
    """
    y: Tensor = _Within.apply(x, steps, *limits, factor)
    return y
