"""What rows' arithmetic on steps shares: factors that are no plain quotient, bounds, and gradients of several operands.

The roundings themselves are those of :mod:`qtorch.numbers.rescaling`. Which numbers a row brings to them, and why these
are exact in their type, is said at each row's ``in_steps``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import Multiplier, power_of_two
from qtorch.numbers.rescaling import Rescaling, round_products_
from qtorch.numbers.straight_through import Ends

__all__ = ["half_away", "rescaling_by", "rounded_products", "within"]


def rescaling_by(multiplier: Multiplier) -> Rescaling:
    """Of an integer multiplier, any shape, whose mantissa need not have 31 bits."""
    mantissa, shift = multiplier
    inner = power_of_two(shift - 1) * (shift < 0)
    factor = mantissa.to(torch.float64) * power_of_two(shift - 31)
    return Rescaling(factor, inner, factor.to(torch.float32))


def rounded_products(steps: Tensor, rescaling: Rescaling, left: int = 0) -> Tensor:
    """``steps * 2**left`` requantized, float64, without gradient; for ``steps`` below 2**21 and ``left`` up to 20.

    Zeros behind a number do not make its product with a factor of 31 bits longer.
    """
    return round_products_(steps.to(torch.float64) * (rescaling.factor * float(1 << left)), rescaling)


class _Within(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, real: Tensor, whole: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        if low is None:
            ctx.save_for_backward(None)
            return whole.to(torch.float32, copy=True)
        held = whole.clamp(low, high)
        ctx.save_for_backward(torch.ne(held, whole))
        return held.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (outside,) = ctx.saved_tensors
        return grad if outside is None else grad.masked_fill(outside, 0.0), None, None, None


def within(real: Tensor, whole: Tensor, ends: Ends | None = None) -> Tensor:
    """``whole`` held between ``ends``, float32, with the gradient of ``real``, and none where it is held there.

    Args:
        real: what was rounded, in the output's steps and differentiable; nobody reads its values.
        whole: whole numbers, without gradient.
        ends: of tensors; ``None`` for what can't leave its grid, a mean or what lies between two numbers.
    """
    y: Tensor = _Within.apply(real, whole, *(ends[:2] if ends else (None, None)))
    return y


def half_away(x: Tensor, divisor: Tensor) -> Tensor:
    """``x / divisor`` to the nearest whole number, ties away from zero, without gradient; of whole numbers, same type.

    Exact where the type holds ``divisor`` times the result, which float32 does below 2**24 and float64 below 2**53: a
    quotient that is not whole lies one part in ``divisor`` away from the next whole number, and the division is off by
    less.
    """
    halves = torch.floor(divisor * 0.5)
    return x.abs().add_(halves).div_(divisor).floor_().mul_(torch.sign(x))
