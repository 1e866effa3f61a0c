"""Remedies for calls that work on each element by itself, as rows of elementwise ops say them.

GELU, Mish and others that no one row is the nearest form of are in :mod:`qtorch.remedies.without_row`.
"""

from __future__ import annotations

import math

from qtorch.remedies.asked import CHANGES, Asked, none, same

__all__ = ["clamped", "divided", "gated", "hard_shrunk", "log_sigmoid", "powered", "rectified", "shrunk", "softplus"]


def clamped(low: float | None, high: float | None) -> str:
    """``clamp`` to other limits than 0 and 6."""
    low = None if low is None or math.isinf(low) else low
    high = None if high is None or math.isinf(high) else high
    if low is None and high is None:
        return same("x")
    if low is not None and high is not None and low >= high:
        return none(f"limits {low} and {high} leave one number, which needs no network")
    if high is None:
        return same(f"F.relu(x - {low}) + {low}".replace("- -", "+ ").replace("+ -", "- "))
    if low is None:
        return same(f"{high} - F.relu({high} - x)")
    moved = "x" if low == 0 else f"(x - {low})".replace("- -", "+ ")
    back = "" if low == 0 else f" + {low}".replace("+ -", "- ")
    return same(f"F.relu6({moved} * (6 / {high - low})) * ({high - low} / 6){back}")


def divided(ask: Asked) -> str:
    """A division, by a number or a tensor."""
    divisor = ask.args[1] if len(ask.args) > 1 else ask.kwargs.get("other")
    if isinstance(divisor, int | float) and divisor:
        reciprocal = 1 / divisor
        return same(f"x * {reciprocal}" if math.frexp(divisor)[0] in (0.5, -0.5) else f"x * (1 / {divisor})")
    return same(
        "r = torch.rsqrt(y); x * r * r", "where the divisor y is positive; by a constant, multiply by 1 over it"
    )


def powered(ask: Asked) -> str:
    """``pow``."""
    power = ask.get("exponent", 1, None)
    if power in (2, 3, 4):
        return same(" * ".join(["x"] * power))
    rooted = {0.5: "x * torch.rsqrt(x)", -0.5: "torch.rsqrt(x)", -1: "r = torch.rsqrt(x); r * r"}
    return same(rooted[power], "where x is positive") if power in rooted else none("powers can be 2, 3, 4 or roots")


def gated(ask: Asked) -> str:
    """``glu``."""
    half = f"x.chunk(2, {ask.get('dim', 1, -1)})"
    return same(f"{half}[0] * torch.sigmoid({half}[1])")


def rectified(ask: Asked) -> str:
    """``rrelu``."""
    value = (ask.get("lower", 1, 1 / 8) + ask.get("upper", 2, 1 / 3)) / 2
    return same(f"nn.LeakyReLU({value})", "in evaluation; in training it is random")


def shrunk(ask: Asked) -> str:
    """``softshrink``."""
    by = ask.get("lambd", 1, 0.5)
    return same(f"F.relu(x - {by}) - F.relu(x * -1 - {by})")


#: Beyond its threshold PyTorch's function is x itself, from which it then differs by less than float32's steps.
_LEAST_THRESHOLD = 15


def _two_way_softmax(ask: Asked, x: str, part: int, factor: str) -> str:
    """Of each element and 0, ``log_softmax``. Beside one more axis no more than three are cut, so others are flat."""
    few = len(ask.shape) < 4
    row, back = (x, "") if few else (f"{x}.flatten(1)", f".unflatten(1, {ask.shape[1:]})")
    name, line = ("x", "") if row == "x" else ("a", f"a = {row}; ")
    both = f"torch.cat([{name}.unsqueeze(-1), ({name} * 0).unsqueeze(-1)], -1)"
    return f"{line}F.log_softmax({both}, -1)[..., {part}]{back}{factor}"


def softplus(ask: Asked) -> str:
    """``softplus``."""
    beta = ask.get("beta", 1, 1)
    if ask.get("threshold", 2, 20) < _LEAST_THRESHOLD:
        return none(f"it jumps at its threshold; from threshold={_LEAST_THRESHOLD} on it can")
    x, factor = ("x", " * -1") if beta == 1 else (f"(x * {beta})", f" * (-1 / {beta})")
    return same(_two_way_softmax(ask, x, 1, factor), f"in steps of 1/16; nn.ReLU is one op, {CHANGES}")


def log_sigmoid(ask: Asked) -> str:
    """``logsigmoid``."""
    return same(_two_way_softmax(ask, "x", 0, ""), "in steps of 1/16")


def hard_shrunk(ask: Asked) -> str:
    """``hardshrink``."""
    by = ask.get("lambd", 1, 0.5)
    return none(f"it jumps; `F.relu(x - {by}) - F.relu(x * -1 - {by})` does not, and changes the network")
