"""Remedies for calls that work on each element by itself, as rows of elementwise ops say them."""

from __future__ import annotations

import math

from qtorch.remedies.asked import Asked, none, same

__all__ = ["divided", "gated", "rectified"]


def divided(ask: Asked) -> str:
    """A division, by a number or a tensor."""
    if ask.kwargs.get("rounding_mode") is not None:
        return none("a quotient of tensors is rounded to its grid alone; leave the rounding out, or divide by a number")
    divisor = ask.args[1] if len(ask.args) > 1 else ask.kwargs.get("other")
    if isinstance(divisor, int | float) and divisor:
        reciprocal = 1 / divisor
        return same(f"x * {reciprocal}" if math.frexp(divisor)[0] in (0.5, -0.5) else f"x * (1 / {divisor})")
    if divisor == 0:
        return none("what is divided by zero is no number")
    return same("x * torch.reciprocal(y)")


def gated(ask: Asked) -> str:
    """``glu``."""
    half = f"x.chunk(2, {ask.get('dim', 1, -1)})"
    return same(f"{half}[0] * torch.sigmoid({half}[1])")


def rectified(ask: Asked) -> str:
    """``rrelu``."""
    value = (ask.get("lower", 1, 1 / 8) + ask.get("upper", 2, 1 / 3)) / 2
    return same(f"nn.LeakyReLU({value})", "in evaluation; in training it is random")
