"""The device's requantization in float64, against its integers: next to every tie, at every shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from qtorch.families import requantized_steps as R
from qtorch.numbers.fixedpoint import Multiplier, Rounding, requantize

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


def multiplier(mantissa: int, exponent: int) -> Multiplier:
    """As quantize_multiplier gives it."""
    return Multiplier(torch.tensor(mantissa), torch.tensor(-exponent))


def wrong(sums: np.ndarray, mantissa: int, exponent: int, at_once: bool) -> Tensor:
    """Those that it brings elsewhere than the device does."""
    factor, x = multiplier(mantissa, exponent), torch.from_numpy(sums)
    expected = requantize(x.clone(), factor, Rounding.DOUBLE)
    return x[R.requantized(x.to(torch.float64), factor, at_once) != expected]


@pytest.mark.parametrize("exponent", range(-7, 32))
def test_small_sums_need_one_product(exponent: int) -> None:
    for mantissa in MANTISSAS:
        assert not wrong(next_to_ties(mantissa, exponent, R.EXACT_AT_ONCE - 1), mantissa, exponent, True).numel()


@pytest.mark.parametrize("shift", [7, 15, 20])
@pytest.mark.parametrize("exponent", range(32))
def test_small_numbers_shifted_to_the_left_need_one_product(exponent: int, shift: int) -> None:
    """As the summands of ADD, SUB and SQUARED_DIFFERENCE are."""
    limit = min(R.EXACT_AT_ONCE, 2 ** (31 - shift)) - 1
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
    """The bound is one: with 24 bits and a shift of 15 a product of 54 bits rounds up to a tie."""
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
