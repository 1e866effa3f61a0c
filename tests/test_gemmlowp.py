"""gemmlowp's functions against those of double precision, and its constants against what they stand for."""

from __future__ import annotations

import math

import pytest
import torch

from qtorch import gemmlowp


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
