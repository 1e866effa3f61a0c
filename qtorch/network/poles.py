"""Codes where a float function has no number or no finite slope, and the device computes a code all the same.

The inverse root of a variance that has rounded to zero is one: its kernel gives the largest code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["defined", "finite_slopes"]


class _Entered(torch.autograd.Function):
    """Tensors, and a 0 whose gradient is 0, or NaN: what :class:`_Left` says of the gradients that came in."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return *[each.view_as(each) for each in tensors], tensors[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        *own, came_in = grads
        return tuple([each.nan_to_num(0.0, 0.0, 0.0) + came_in for each in own])


class _Left(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, came_in: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad.sum() * 0.0


def finite_slopes(function: Callable[[Mapping[str, Tensor]], Any], tensors: Mapping[str, Tensor]) -> Any:
    """``function(tensors)``, through which gradients that come in finite leave finite.

    Where they would not, a slope is infinite or there is none, and the gradient is 0, as that of what saturates is. A
    gradient that comes in infinite or NaN leaves as NaN, so that a loss scale that is too large shows.

    Args:
        function: of tensors by role; its result is a tensor, or a tuple of some.
        tensors: of any shapes.
    """
    *own, came_in = _Entered.apply(*tensors.values())
    y = function(dict(zip(tensors, own, strict=True)))
    return tuple(_Left.apply(part, came_in) for part in y) if isinstance(y, tuple) else _Left.apply(y, came_in)


def defined(function: Callable[[Mapping[str, Tensor]], Any], tensors: Mapping[str, Tensor]) -> Any:
    """:func:`finite_slopes`, with 0 where the function gives none: every range has that, and the device has a code.

    If there is NaN among the tensors, what the function gives is left.
    """
    broken = torch.stack([each.detach().sum() for each in tensors.values()]).isnan().any()
    y = finite_slopes(function, tensors)
    held = [torch.where(part.isfinite() | broken, part, 0.0) for part in (y if isinstance(y, tuple) else (y,))]
    return tuple(held) if isinstance(y, tuple) else held[0]
