"""Fixed-point arithmetic against exact rational arithmetic in Python, at tolerance 0."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from qtorch.errors import AccumulatorOverflow
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize, requantize_wide


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


def test_the_smallest_factor_that_is_not_flushed() -> None:
    """A shift of -31 is the last that TFLM's QuantizeMultiplier leaves alone."""
    assert [int(v) for v in quantize_multiplier(torch.tensor(2.0**-32, dtype=torch.float64))] == [2**30, -31]
    below = 2.0**-32 * (1 - 2.0**-20)
    assert [int(v) for v in quantize_multiplier(torch.tensor(below, dtype=torch.float64))] == [0, 0]


def test_int32_ends_where_it_ends() -> None:
    ends = torch.tensor([-(2**31), 2**31 - 1])
    assert fits_int32(ends, "ends") is ends
    for beyond in (-(2**31) - 1, 2**31):
        with pytest.raises(AccumulatorOverflow, match="int32"):
            fits_int32(torch.tensor([0, beyond]), "a sum")


@pytest.mark.parametrize("mantissa", [2**30, 2**30 + 2**15, 1518500250, 1234567890, 0x7FFEFFFF, 0x7FFF9000, 2**31 - 1])
@pytest.mark.parametrize("shift", [-25, -17, -16])
def test_a_wide_requantization_is_exact(mantissa: int, shift: int) -> None:
    """A mantissa of 15 bits, rounded and held below 2**15, then one rounding upwards."""
    x = torch.randint(-(2**46), 2**46, (200,), generator=torch.Generator().manual_seed(mantissa % 1000))
    x = torch.cat([x, torch.arange(-2, 3) * 2**40, torch.tensor([2**47 - 1, 1 - 2**47])])
    reduced = min(half_up(Fraction(mantissa, 2**16)), 2**15 - 1)
    expected = [half_up(Fraction(v * reduced) * Fraction(2) ** (shift - 15)) for v in x.tolist()]
    got = requantize_wide(x, Multiplier(torch.tensor(mantissa), torch.tensor(shift)))
    assert got.tolist() == expected


def test_what_a_wide_requantization_can_not_take_is_refused() -> None:
    def found(x: int, shift: int) -> int:
        return int(requantize_wide(torch.tensor([x]), Multiplier(torch.tensor(2**30), torch.tensor(shift))))

    assert found(3, 7) == 3 * 64
    with pytest.raises(AccumulatorOverflow, match="a factor below 128"):
        found(3, 8)
    assert found(2**47 - 1, -20) == 2**26
    for x in (2**47, -(2**47)):
        with pytest.raises(AccumulatorOverflow, match="48 bits"):
            found(x, -20)
