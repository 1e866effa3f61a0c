"""The device's requantization in float64, against its integers: next to every tie, at every shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from qtorch.families.steps import rescaling_by
from qtorch.numbers import rescaling as R
from qtorch.numbers.fixedpoint import Rounding, quantize_multiplier, requantize, requantize_wide

#: Sums below it need one product, whatever the factor.
SMALL = 2**21

#: The ends, ones with few bits (which have ties of both roundings), and any.
MANTISSAS = [2**30, 2**30 + 1, 3 * 2**29, 5 * 2**28, 2**31 - 2**7, 2**31 - 2, 2**31 - 1, 1_518_500_250, 1_234_567_891]


def next_to_ties(mantissa: int, exponent: int, limit: int) -> np.ndarray:
    """Sums whose products lie on and next to ties of either rounding, for results around 0 and int8's ends, and any."""
    rng = np.random.default_rng(exponent + 40)
    whole = [*range(-20, 21), *range(-262, -250), *range(250, 262), *rng.integers(-(2**15), 2**15, 40).tolist()]
    outer = [((2 * n + 1) << 30 + max(exponent, 0)) // mantissa for n in whole]
    # In front of the outer tie the inner one decides: at n + 1/2 less half of its own step.
    inner = [(((2 * n + 1) << 30 + max(exponent, 0)) - (sign << 30)) // mantissa for n in whole for sign in (1, -1)]
    few_bits = [(2 * n + 1) << s for n, s in rng.integers((-99, 0), (99, 21), (60, 2)).tolist()]
    sums = [s + d for s in (*outer, *inner) for d in range(-2, 3)] + few_bits
    if exponent < 0:
        sums = [s >> -exponent for s in sums]
    sums += [*rng.integers(-limit, limit, 400, endpoint=True).tolist(), 0, 1, -1, limit, -limit]
    kept = np.array([s for s in sums if abs(s) <= limit], np.int64)
    return kept[np.abs(kept) << max(-exponent, 0) < 2**31]


def real(mantissa: int, exponent: int) -> Tensor:
    """The factor, which float64 holds."""
    return torch.tensor(mantissa * 2.0 ** (-31 - exponent), dtype=torch.float64)


def wrong(sums: np.ndarray, mantissa: int, exponent: int, at_once: bool) -> Tensor:
    """Those that one product (else two) brings elsewhere than the device does."""
    x, factor = torch.from_numpy(sums), R.rescaling(real(mantissa, exponent))
    expected = requantize(x.clone(), quantize_multiplier(real(mantissa, exponent)), Rounding.DOUBLE)
    x64 = x.to(torch.float64)
    return x[(R.round_products_(x64 * factor.factor, factor) if at_once else R.rescale_any(x64, factor)) != expected]


@pytest.mark.parametrize("exponent", [-40, *range(-7, 40)])
def test_a_factor_has_the_device_s_mantissa(exponent: int) -> None:
    """Between two mantissas, next to a power of two, which carries, and too small to be anything."""
    torch.manual_seed(exponent)
    ends = torch.tensor([1.0, 1 - 2.0**-33, 1 - 2.0**-32, 1 - 2.0**-31 * 0.75, 0.5, 0.5 + 2.0**-32, 0.5 + 2.0**-33])
    fractions = torch.cat([ends.double(), torch.rand(500, dtype=torch.float64)])
    middles = (torch.floor(fractions * 2.0**31) + 0.5) * 2.0**-31
    reals = torch.cat([fractions, middles, torch.nextafter(middles, torch.zeros(()).double())]) * 2.0**-exponent
    device = quantize_multiplier(reals)
    for got in (R.rescaling(reals), rescaling_by(device)):
        assert torch.equal(got.factor, device.mantissa * 2.0 ** (device.shift.double() - 31))
        halves = torch.where(device.shift < 0, 2.0 ** (device.shift.double() - 1), 0.0)
        kept = device.mantissa > 0
        assert torch.equal(got.inner[kept], halves[kept])


@pytest.mark.parametrize("exponent", range(-7, 32))
def test_small_sums_need_one_product(exponent: int) -> None:
    for mantissa in MANTISSAS:
        assert not wrong(next_to_ties(mantissa, exponent, SMALL - 1), mantissa, exponent, True).numel()


@pytest.mark.parametrize("shift", [7, 15, 20])
@pytest.mark.parametrize("exponent", range(32))
def test_small_numbers_shifted_to_the_left_need_one_product(exponent: int, shift: int) -> None:
    """As the summands of ADD, SUB and SQUARED_DIFFERENCE are."""
    limit = min(SMALL, 2 ** (31 - shift)) - 1
    for mantissa in MANTISSAS:
        near = next_to_ties(mantissa, exponent, limit << shift) >> shift
        assert not wrong(near[np.abs(near) <= limit] << shift, mantissa, exponent, True).numel()


@pytest.mark.parametrize("bits", [24, 31])
@pytest.mark.parametrize("exponent", range(-7, 32))
def test_all_sums_need_two_products(exponent: int, bits: int) -> None:
    for mantissa in MANTISSAS:
        assert not wrong(next_to_ties(mantissa, exponent, 2**bits - 1), mantissa, exponent, False).numel()


def odd_products_below_a_tie(exponent: int, bits: int) -> list[tuple[int, int]]:
    """(sum, mantissa) whose product is one unit short of a result of at most 2**8, with sums of ``bits`` bits."""
    x = np.arange(2 ** (bits - 1) + 1, 2 ** (bits - 1) + 2**19, 2, dtype=np.int64)
    pairs = []
    for n in range(1, 2**8):
        product = (n << 31 + exponent) - (1 << 30 + exponent) - (1 << 30) - 1
        for whole in x[product % x == 0].tolist():
            if 2**30 <= product // whole < 2**31:
                pairs.append((whole, product // whole))
    return pairs


def test_one_product_is_not_enough_for_greater_sums() -> None:
    """The bounds are tight: with 24 bits and a shift of 15 a product of 54 bits rounds up to a tie."""
    pairs = odd_products_below_a_tie(15, 24)
    assert len(pairs) > 1
    for x, mantissa in pairs:
        assert wrong(np.array([x, -x]), mantissa, 15, True).numel()
        assert not wrong(np.array([x, -x]), mantissa, 15, False).numel()


def test_results_of_eight_bits_need_one_product_up_to_a_shift_of_14() -> None:
    """Such a product has 53 bits, whatever the sum."""
    pairs = odd_products_below_a_tie(14, 23)
    assert len(pairs) > 1
    for x, mantissa in pairs:
        assert not wrong(np.array([x, -x]), mantissa, 14, True).numel()


def test_which_sums_need_two_products_is_said() -> None:
    coarse, fine = (R.rescaling(real(2**31 - 1, exponent)) for exponent in (14, 15))
    assert R.is_exact(SMALL - 1, fine.factor, 31)
    assert R.is_exact(2.0**30, coarse.factor, 31)
    assert not R.is_exact(SMALL, fine.factor, 31)


@pytest.mark.parametrize("at_once", [True, False])
def test_16_bit_kernels_round_once(at_once: bool) -> None:
    """Sums of up to 2**38 by one product, of up to 2**41 by two: any, next to ties, and on them."""
    rng, limit = np.random.default_rng(3), 2 ** (38 if at_once else 41) - 1
    for shift in range(-30, 7):
        for mantissa in (2**30, 3 * 2**29, 2**31 - 2**17, *rng.integers(2**30, 2**31 - 2**16, 6).tolist()):
            factor = torch.tensor(mantissa * 2.0 ** (shift - 31), dtype=torch.float64)
            reduced = (mantissa + 2**15) >> 16
            whole = rng.integers(-(2**15), 2**15, 60)
            ties = ((2 * whole + 1) << 14 - min(shift, 0)) // reduced
            sums = np.concatenate([ties - 1, ties, ties + 1, rng.integers(-limit, limit, 200), [limit, -limit]])
            x = torch.from_numpy(sums[(np.abs(sums) <= limit) & (np.abs(sums) * float(factor) < 2.0**30)])
            expected = requantize_wide(x, quantize_multiplier(factor))
            by, x64 = R.rescaling_of_16_bits(factor), x.to(torch.float64)
            got = R.round_products_(x64 * by.factor, by) if at_once else R.rescale_any(x64, by)
            assert torch.equal(got, expected.to(torch.float64)), (shift, mantissa)
