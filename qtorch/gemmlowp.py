"""Fixed-point exponential, reciprocal, logistic and tangent, as the int8 kernels compute them through gemmlowp.

All values are raw int64 tensors that hold int32: ``Qm.n`` is ``raw / 2**n`` with ``m + n = 31``. Each function states
the formats it takes and gives. Mirrors gemmlowp's ``fixedpoint/fixedpoint.h``.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "exp_on_negative",
    "logistic",
    "multiply",
    "one_over_one_plus",
    "rounding_divide_by_power_of_two",
    "saturating_shift_left",
    "tanh",
]

_MAX, _MIN = 2**31 - 1, -(2**31)

#: 1.0 in Q0.31, as near as it comes.
_ONE = _MAX

#: ``exp(-2**k)`` in Q0.31 for k from -2 to 4.
_EXP_OF_MINUS_POWER = {-2: 1672461947, -1: 1302514674, 0: 790015084, 1: 290630308, 2: 39332535, 3: 720401, 4: 242}


def multiply(a: Tensor, b: Tensor | int) -> Tensor:
    """Qa.* times Qb.* is Q(a+b).*: ``round(a * b / 2**31)``, ties towards plus infinity (SQRDMULH, unsaturated)."""
    return (a * b + 2**30) >> 31


def rounding_divide_by_power_of_two(x: Tensor, exponent: Tensor | int) -> Tensor:
    """``round(x / 2**exponent)``, ties away from zero; exponent at least 0."""
    half = (torch.as_tensor(1, dtype=torch.int64) << exponent) >> 1
    return torch.where(x < 0, -((-x + half) >> exponent), (x + half) >> exponent)


def saturating_shift_left(x: Tensor, bits: int) -> Tensor:
    """``x * 2**bits`` held to int32: from Qm.* to Q(m-bits).*."""
    return (x << bits).clamp(_MIN, _MAX)


def _exp_near_zero(a: Tensor) -> Tensor:
    """Exp of Q0.31 in [-1/4, 0), in Q0.31: Taylor's series to the fourth power around -1/8."""
    exp_of_minus_eighth, third = 1895147668, 715827883
    x = a + 2**28
    x2 = multiply(x, x)
    x3, x4 = multiply(x2, x), multiply(x2, x2)
    x4_over_4 = rounding_divide_by_power_of_two(x4, 2)
    tail = rounding_divide_by_power_of_two(multiply(x4_over_4 + x3, third) + x2, 1)
    return exp_of_minus_eighth + multiply(x + tail, exp_of_minus_eighth)


def exp_on_negative(a: Tensor, integer_bits: int) -> Tensor:
    """Exp of a Q(integer_bits).* that is not positive, in Q0.31; at most 5 integer bits.

    The quarter above ``a`` by the series, then a factor ``exp(-2**k)`` for every bit of what remains.
    """
    quarter = 1 << (31 - integer_bits - 2)
    within = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(saturating_shift_left(within, integer_bits))
    remainder = within - a
    for exponent, factor in _EXP_OF_MINUS_POWER.items():
        if integer_bits > exponent:
            bit = 1 << (31 - integer_bits + exponent)
            result = torch.where((remainder & bit) != 0, multiply(result, factor), result)
    return torch.where(a == 0, torch.full_like(a, _ONE), result)


def _reciprocal_of_half_sum(a: Tensor) -> Tensor:
    """``1 / ((1 + a) / 2)`` of Q0.31 in [0, 1], in Q2.29: three steps of Newton's method from a straight line."""
    total = a + _ONE
    half = (total + torch.where(total >= 0, 1, -1)).div(2, rounding_mode="trunc")
    x = 1515870810 + multiply(half, -1010580540)
    for _ in range(3):
        x = x + saturating_shift_left(multiply(x, 2**29 - multiply(half, x)), 2)
    return x


def one_over_one_plus(a: Tensor) -> Tensor:
    """``1 / (1 + a)`` of Q0.31 in [0, 1], in Q0.31."""
    return saturating_shift_left(_reciprocal_of_half_sum(a), 1)


def logistic(a: Tensor, integer_bits: int) -> Tensor:
    """``1 / (1 + exp(-a))`` of Q(integer_bits).*, in Q0.31."""
    positive = one_over_one_plus(exp_on_negative(-a.abs(), integer_bits))
    result = torch.where(a > 0, positive, _ONE - positive)
    return torch.where(a == 0, torch.full_like(a, 2**30), result)


def tanh(a: Tensor, integer_bits: int) -> Tensor:
    """Tanh of Q(integer_bits).*, in Q0.31: ``(1 - e) / (1 + e)`` with ``e = exp(-2|a|)``; at most 4 integer bits."""
    # Twice a number has the same raw value with one integer bit more.
    e = exp_on_negative(-a.abs(), integer_bits + 1)
    magnitude = saturating_shift_left(_reciprocal_of_half_sum(e) - 2**29, 2)
    result = torch.where(a < 0, -magnitude, magnitude)
    return torch.where(a == 0, torch.zeros_like(a), result)
