"""Codes where a float function has no number or no finite slope, and the device computes a code all the same.

The inverse root of a variance that has rounded to zero is one: its kernel gives the largest code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

__all__ = ["defined", "finite_slopes"]


def finite_slopes(function: Callable[[Mapping[str, Tensor]], Any], tensors: Mapping[str, Tensor]) -> Any:
    """``function(tensors)``, through which gradients that come in finite leave finite.

    Where they would not, a slope is infinite or there is none, and the gradient is 0, as that of what saturates is. A
    gradient that comes in infinite or NaN leaves as NaN, so that a loss scale that is too large shows.

    Args:
        function: of tensors by role; its result is a tensor, or a tuple of some.
        tensors: of any shapes.
    """
    own = {role: each.view_as(each) if each.requires_grad else each for role, each in tensors.items()}
    y = function(own)
    # By result, 0 or NaN: the same graph may be gone through twice.
    came_in: dict[int, Tensor] = {}
    for number, part in enumerate(y if isinstance(y, tuple) else (y,)):
        if part.requires_grad:
            part.register_hook(partial(_noted, came_in, number))
    for each in own.values():
        if each.requires_grad:
            each.register_hook(partial(_finite, came_in))
    return y


def _noted(came_in: dict[int, Tensor], number: int, grad: Tensor) -> None:
    came_in[number] = grad.sum() * 0.0


def _finite(came_in: dict[int, Tensor], grad: Tensor) -> Tensor:
    return sum(came_in.values(), grad.nan_to_num(0.0, 0.0, 0.0))


def defined(function: Callable[[Mapping[str, Tensor]], Any], tensors: Mapping[str, Tensor]) -> Any:
    """:func:`finite_slopes`, with 0 where the function gives none: every range has that, and the device has a code.

    If there is NaN among the tensors, what the function gives is left.
    """
    broken = torch.stack([each.detach().sum() for each in tensors.values()]).isnan().any()
    y = finite_slopes(function, tensors)
    held = [torch.where(part.isfinite() | broken, part, 0.0) for part in (y if isinstance(y, tuple) else (y,))]
    return tuple(held) if isinstance(y, tuple) else held[0]
