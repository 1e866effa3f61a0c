"""Fixed-point arithmetic against exact rational arithmetic in Python, at tolerance 0."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from qtorch.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return int(math.copysign(math.floor(abs(x) + Fraction(1, 2)), x))


def oracle(x: int, mantissa: int, shift: int, rounding: Rounding) -> int:
    if rounding is Rounding.SINGLE:
        return half_up(Fraction(x * mantissa) * Fraction(2) ** (shift - 31))
    high = half_up(Fraction(x * 2 ** max(shift, 0) * mantissa, 2**31))
    return half_away(Fraction(high, 2 ** max(-shift, 0)))


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("shift", [-31, -20, -7, -1, 0, 1, 5])
def test_requantize_is_exact(shift: int, rounding: Rounding) -> None:
    generator = torch.Generator().manual_seed(shift + 100)
    limit = 2 ** (31 - max(shift, 0)) - 1
    x = torch.randint(-limit, limit, (300,), generator=generator)
    # Ties: a mantissa of 2**30 halves, so odd values over powers of two end on .5.
    x = torch.cat([x, torch.arange(-40, 40), torch.tensor([-limit, limit, 0])])
    for mantissa in (2**30, 2**31 - 1, 1518500250):
        multiplier = Multiplier(torch.tensor(mantissa), torch.tensor(shift))
        got = requantize(x.clone(), multiplier, rounding).tolist()
        assert got == [oracle(v, mantissa, shift, rounding) for v in x.tolist()]


def test_the_two_roundings_differ() -> None:
    x = torch.arange(-100_000, 100_000)
    multiplier = quantize_multiplier(torch.tensor(0.0031, dtype=torch.float64))
    assert (requantize(x.clone(), multiplier) != requantize(x, multiplier, Rounding.SINGLE)).any()


@pytest.mark.parametrize("real", [1.0, 0.5, 0.1, 3.7, 1e-9, 123456.0, 1 - 2.0**-40, 2.0**-31])
def test_quantize_multiplier_is_nearest(real: float) -> None:
    mantissa, shift = (int(v) for v in quantize_multiplier(torch.tensor(real, dtype=torch.float64)))
    assert 2**30 <= mantissa < 2**31
    assert abs(Fraction(mantissa) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(2) ** (shift - 32)


def test_tiny_factors_flush_to_zero() -> None:
    assert [int(v) for v in quantize_multiplier(torch.tensor(2.0**-33, dtype=torch.float64))] == [0, 0]


def test_left_shift_out_of_int32_is_refused() -> None:
    with pytest.raises(OverflowError, match="left shift"):
        requantize(torch.tensor([2**30]), Multiplier(torch.tensor(2**30), torch.tensor(3)))
