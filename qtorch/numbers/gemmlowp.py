"""Fixed-point exponential, reciprocal, logistic and tangent, as the int8 kernels compute them through gemmlowp.

All values are raw int64 tensors that hold int32: ``Qm.n`` is ``raw / 2**n`` with ``m + n = 31``. Each function states
the formats it takes and gives. Mirrors gemmlowp's ``fixedpoint/fixedpoint.h``.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "exp_on_negative",
    "inverse_square_root",
    "log_of_at_least_one",
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


def _bits(x: Tensor) -> Tensor:
    """How many bits a positive number has."""
    return torch.frexp(x.to(torch.float64)).exponent.to(torch.int64)


def log_of_at_least_one(x: Tensor, integer_bits: int) -> Tensor:
    """Natural logarithm of a Q(integer_bits).* of at least 1, in Q5.26.

    The power of two apart, what remains in [1/2, 1] by a rational function around the fourth root of one half. Two ways
    of taking the power out, with a factor of the root of one half between them, keep the rest near that point.
    Mirrors ``log_x_for_x_greater_than_or_equal_to_1`` in TFLM's ``kernels/internal/common.h``.
    """
    sum_bits = 6  # one more than the result's, for the sum's sake
    log_2, root_half, fourth_root_half = 1488522236, 1518500250, 1805811301
    alpha_n, alpha_d, alpha_i, alpha_f = 117049297, 127690142, 1057819769, 638450708
    quarter = 1 << (31 - sum_bits - 2)
    headroom_a = 31 - _bits(x)
    rest_a = saturating_shift_left(multiply((x << headroom_a).clamp(max=_MAX), root_half), 1)
    power_a = saturating_shift_left(integer_bits - headroom_a - 1, 31 - sum_bits) + quarter
    headroom_b = 31 - _bits(multiply(x, root_half))
    rest_b = (x << headroom_b).clamp(max=_MAX)
    power_b = saturating_shift_left(integer_bits - headroom_b, 31 - sum_bits) - quarter
    rest, power = torch.minimum(rest_a, rest_b), torch.maximum(power_a, power_b)
    middle = (rest + fourth_root_half + 1) >> 1
    q = 2 * (rest - fourth_root_half)
    q2 = multiply(q, q)
    numerator = multiply(q, rest) + multiply(multiply(q, q2), alpha_n)
    denominator = multiply(middle, alpha_i + q + multiply(q2, alpha_d)) + multiply(q, alpha_f)
    fraction = multiply(rounding_divide_by_power_of_two(numerator, sum_bits), one_over_one_plus(denominator))
    return saturating_shift_left(multiply(power, log_2) + fraction, 1)


def inverse_square_root(x: Tensor) -> tuple[Tensor, Tensor]:
    """``1 / sqrt(x)`` of int32 numbers from 0 as Q31 mantissa and left shift; 0 counts as 1.

    Five steps of Newton's method in Q3.28. Mirrors ``GetInvSqrtQuantizedMultiplierExp`` in TFLM's
    ``kernels/internal/common.h``.
    """
    y, right = x.clamp_min(1), torch.full_like(x, 11)
    for _ in range(2):
        large = y >= 2**29
        y, right = torch.where(large, y >> 2, y), right + large.to(torch.int64)
    pairs = (31 - _bits(y)) // 2 - 1
    right, y = right - pairs, y << (2 * pairs)
    half = rounding_divide_by_power_of_two(y >> 1, 1)
    root = torch.full_like(y, 2**28)
    for _ in range(5):
        cube = saturating_shift_left(multiply(multiply(root, root), root), 6)
        root = saturating_shift_left(multiply(root, 2**28 + 2**27) - multiply(half, cube), 3)
    mantissa = multiply(root, 1518500250)
    mantissa, right = torch.where(right < 0, mantissa << (-right).clamp_min(0), mantissa), right.clamp_min(0)
    one = x <= 1
    return torch.where(one, _MAX, mantissa), torch.where(one, 0, -right)
