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

__all__ = ["EXACT_AT_ONCE", "half_away", "requantized", "rounded", "step_limits", "within"]

#: Below it a whole number's product with any factor of 31 bits, and what is added to round it, is exact in float64.
EXACT_AT_ONCE = 2**21


def requantized(x: Tensor, multiplier: Multiplier, at_once: bool) -> Tensor:
    """:func:`qtorch.numbers.fixedpoint.requantize` with two roundings, float64; no gradient.

    Args:
        x: whole numbers below 2**31, float32 or float64.
        multiplier: broadcast against ``x``, on its device.
        at_once: whether every ``x`` is below :data:`EXACT_AT_ONCE`, or such a number times a power of two that is at
            most 2**20.
    """
    mantissa, shift = multiplier.mantissa.to(torch.float64), multiplier.shift
    x, exponent = x.to(torch.float64), (-shift).clamp_min(0)
    nudge = _power_of_two(-1 - exponent) * (exponent > 0)
    if at_once:
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
    def forward(ctx: Any, real: Tensor, steps: Tensor, low: Tensor, high: Tensor) -> Tensor:
        held = steps.clamp(low, high)
        ctx.save_for_backward(held == steps)
        return held.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return grad * ctx.saved_tensors[0], None, None, None


def within(real: Tensor, steps: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
    """``steps`` between ``limits``, float32, with the gradient of ``real``, and none where they are held there.

    Args:
        real: what the steps were rounded from, in the output's steps and differentiable; nobody reads its values.
        steps: whole numbers, float64.
        limits: float64 ``[]``.
    """
    y: Tensor = _Within.apply(real, steps, *limits)
    return y


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, real: Tensor, steps: Tensor) -> Tensor:
        return steps.to(torch.float32, copy=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def rounded(real: Tensor, steps: Tensor) -> Tensor:
    """:func:`within` for what can't leave its grid, a mean or what lies between two numbers."""
    y: Tensor = _Rounded.apply(real, steps)
    return y


def half_away(magnitude_of: Tensor, divisor: Tensor) -> Tensor:
    """``magnitude_of / divisor`` to the nearest whole number, ties away from zero; of whole numbers, same type.

    Exact where the type holds the numbers and the quotient lies 1 / divisor away from any whole number that it is not:
    ``divisor * quotient`` below 2**24 (float32) or 2**53.
    """
    halves = torch.floor(divisor * 0.5)
    return magnitude_of.abs().add_(halves).div_(divisor).floor_().mul_(torch.sign(magnitude_of))
