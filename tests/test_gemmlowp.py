"""gemmlowp's functions against those of double precision, and its constants against what they stand for."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from qtorch.numbers import gemmlowp


def test_products_round_ties_upwards() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(-(2**31), 2**31, (500,), generator=generator) for _ in range(2))
    # Halves of odd numbers are ties.
    a, b = torch.cat([a, torch.arange(-9, 10)]), torch.cat([b, torch.full((19,), 2**30)])
    expected = [
        math.floor(Fraction(x * y, 2**31) + Fraction(1, 2)) for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert gemmlowp.multiply(a, b).tolist() == expected


@pytest.mark.parametrize("exponent", [0, 1, 2, 7])
def test_divisions_round_ties_away_from_zero(exponent: int) -> None:
    x = torch.arange(-300, 301)
    expected = [int(math.copysign((abs(v) + 2**exponent // 2) // 2**exponent, v)) for v in x.tolist()]
    assert gemmlowp.rounding_divide_by_power_of_two(x, exponent).tolist() == expected


def test_constants_are_exponentials() -> None:
    assert {k: round(math.exp(-(2.0**k)) * 2**31) for k in range(-2, 5)} == gemmlowp._EXP_OF_MINUS_POWER


@pytest.mark.parametrize("integer_bits", [0, 2, 4, 5])
def test_an_exponential_is_near(integer_bits: int) -> None:
    least = -(2**31)
    a = torch.cat([torch.linspace(least, -1, 5000, dtype=torch.float64).long(), torch.tensor([least, -1, 0])])
    real = torch.exp(a.double() / 2.0 ** (31 - integer_bits)) * 2**31
    assert float((gemmlowp.exp_on_negative(a, integer_bits).double() - real).abs().max()) < 2**31 * 2.0**-20


def test_a_reciprocal_is_near() -> None:
    a = torch.linspace(0, 2**31 - 1, 5000, dtype=torch.float64).long()
    real = 2.0**31 / (1 + a.double() / 2**31)
    assert float((gemmlowp.one_over_one_plus(a).double() - real).abs().max()) < 2**31 * 2.0**-24


@pytest.mark.parametrize("integer_bits", [0, 2, 4])
def test_zero_is_exact(integer_bits: int) -> None:
    """Where the series ends some units beside it: gemmlowp selects exp(0), one half and 0 by a mask of their own."""
    zero = torch.zeros(1, dtype=torch.int64)
    assert int(gemmlowp.exp_on_negative(zero, integer_bits)) == 2**31 - 1
    assert int(gemmlowp.logistic(zero, integer_bits)) == 2**30
    assert int(gemmlowp.tanh(zero, integer_bits)) == 0


def test_the_inverse_root_of_one_is_the_largest_mantissa() -> None:
    """Newton's steps pass the int32 there; TFLM's function returns before them."""
    mantissa, shift = gemmlowp.inverse_square_root(torch.tensor([0, 1, 2]))
    assert mantissa[:2].tolist() == [2**31 - 1] * 2
    assert shift.tolist() == [0, 0, 0]
    assert abs(int(mantissa[2]) / 2**31 - 2**-0.5) < 2**-20
