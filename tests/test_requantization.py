"""Abridged requantization: proven at every place where a code changes, and tried on every sum there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.c import requantization as module
from export.c.requantization import Channels, exact_codes, requantization, thresholds
from qtorch.numbers.fixedpoint import quantize_multiplier
from qtorch.row.kernel_call import Accumulators

#: How far the sums of a tried channel reach.
REACH = 30_000


def accumulators(reals: list[float], zero_point: int, low: int, high: int, reach: int = REACH) -> Accumulators:
    ends = np.full(len(reals), reach, np.int64)
    multiplier = quantize_multiplier(torch.tensor(reals, dtype=torch.float64))
    return Accumulators(np.arange(len(reals)), multiplier, zero_point, low, high, -ends, ends)


def computed(channels: Channels, given: Accumulators, sums: np.ndarray) -> np.ndarray:
    """What firmware/c/requantize.h computes, in Python's unbounded integers."""
    codes = []
    for words, row in zip(channels.words.tolist(), sums.tolist(), strict=True):
        if channels.form == "Q_POSITIVE":
            _, multiplier, fraction = words
            found = [(s * multiplier + (fraction & 0xFFFFFFFF) >> 32) + given.zero_point for s in row]
        elif channels.form == "Q_EXACT":
            _, mantissa, addend, shift = words
            found = [((s * mantissa + 2**30 - (2**31 if s < 0 else 0) >> 32) + addend) >> shift for s in row]
        else:
            single = module.Multiplier(*(torch.tensor([w], dtype=torch.int64) for w in words[1:]))
            wide = module.requantize(torch.tensor(row), single)
            found = (wide + given.zero_point).tolist()
        codes.append(found)
    return np.clip(np.array(codes), given.low, given.high)


@pytest.mark.parametrize(
    ("reals", "zero_point", "low", "form"),
    [
        ([0.004, 0.0071, 0.0123], -128, -128, "Q_POSITIVE"),
        ([0.004, 0.0071, 0.0123], 3, 3, "Q_POSITIVE"),
        ([0.004, 0.0071, 0.0123], 3, -128, "Q_EXACT"),
        ([0.25, 0.2], -5, -128, "Q_WIDE"),
        ([0.9, 0.004], 127, -128, "Q_WIDE"),
        ([1.7, 30.0], 0, -128, "Q_WIDE"),
        ([1e-9, 0.0], 4, -128, "Q_POSITIVE"),
        ([0.004, 0.0071, 0.0123, 1e-9, 0.0], 3, -128, "Q_EXACT"),
    ],
)
def test_every_sum_has_its_code(reals: list[float], zero_point: int, low: int, form: str) -> None:
    given = accumulators(reals, zero_point, low, 127)
    sums = np.repeat(np.arange(-REACH, REACH + 1)[None], len(reals), 0)
    found = requantization(given)
    assert found.form == form
    np.testing.assert_array_equal(computed(found, given, sums), exact_codes(given, sums).clip(low, 127))


def test_random_channels_are_exact() -> None:
    rng = np.random.default_rng(0)
    forms = set()
    for _ in range(60):
        zero_point = int(rng.integers(-128, 128))
        low = zero_point if rng.random() < 0.5 else -128
        reach = int(10 ** rng.uniform(1, 5))
        reals = (10 ** rng.uniform(-5, 0, 3)).tolist()
        given = accumulators(reals, zero_point, low, 127, reach)
        sums = np.concatenate(
            [rng.integers(-reach, reach + 1, (3, 500)), np.tile([-reach, -1, 0, 1, reach], (3, 1))], 1
        )
        places = thresholds(given)
        near = np.concatenate([places.sums - 1, places.sums], 1).clip(-reach, reach)
        found = requantization(given)
        forms.add(found.form)
        for tried in (sums, near):
            np.testing.assert_array_equal(computed(found, given, tried), exact_codes(given, tried).clip(low, 127))
    assert forms == {"Q_POSITIVE", "Q_EXACT", "Q_WIDE"}


def test_thresholds_are_where_codes_change() -> None:
    given = accumulators([0.0071, 0.02], -9, -128, 100, 12_000)
    found = thresholds(given)
    assert found.occurs.any()
    at, before = exact_codes(given, found.sums), exact_codes(given, found.sums - 1)
    assert (at >= found.codes)[found.occurs].all()
    assert (before < found.codes)[found.occurs].all()


@pytest.mark.parametrize("octave", [-31, -20, -9, -3, 0, 3])
@pytest.mark.parametrize("near", [2, 0])
def test_every_threshold_is_found_of_any_multiplier(octave: int, near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From multipliers of 0 to those that shift to the left, of channels of few sums and of many; those too that do not
    lie where they are looked for first."""
    monkeypatch.setattr(module, "_NEAR", near)
    rng = np.random.default_rng(octave + 33)
    least, greatest = np.array([-(2**27), 17, -300, 5, -90]), np.array([2**27, 2**20, 300, 5, -7])
    for _ in range(40):
        multiplier = quantize_multiplier(torch.from_numpy(2.0 ** rng.uniform(octave - 2, octave, len(least))))
        low, high = sorted(rng.integers(-128, 128, 2).tolist())
        given = Accumulators(
            np.zeros(5, np.int64), multiplier, int(rng.integers(-128, 128)), low, high, least, greatest
        )
        found = thresholds(given)
        begins, ends = (exact_codes(given, sums[:, None]) for sums in (least, greatest))
        np.testing.assert_array_equal(found.occurs, (begins < found.codes) & (ends >= found.codes))
        there = found.sums.clip(least[:, None] + 1, np.maximum(greatest, least + 1)[:, None])
        assert (there == found.sums)[found.occurs].all()
        assert (exact_codes(given, there) >= found.codes)[found.occurs].all()
        assert (exact_codes(given, there - 1) < found.codes)[found.occurs].all()


def test_layers_that_are_alike_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is planned several times, and each plan has accumulators of its own."""
    first = requantization(accumulators([0.0171, 0.023], -128, -128, 127))
    monkeypatch.setattr(module, "_positive", None)
    assert requantization(accumulators([0.0171, 0.023], -128, -128, 127)) is first
    for other in ([0.0171, 0.024], -128, -128, 127), ([0.0171, 0.023], -127, -128, 127):
        with pytest.raises(TypeError):
            requantization(accumulators(*other))


def test_a_layer_that_rounds_both_ways_has_no_short_form() -> None:
    """TFLite Micro rounds ties away from zero: one straight line can't do that on both sides."""
    assert module._positive(accumulators([0.0071], 0, -128, 127)) is None
    assert module._positive(accumulators([0.0071], 0, 0, 127)) is not None


def test_a_solution_that_misses_one_threshold_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One place moved by one sum leaves no straight line."""
    given = accumulators([0.0071], -128, -128, 127)
    found = thresholds(given)
    moved = found.sums.copy()
    moved[0, 100] += 70
    monkeypatch.setattr(module, "thresholds", lambda _: module.Thresholds(found.codes, moved, found.occurs))
    assert module._positive(given) is None


def test_channels_of_few_sums_have_the_short_form_too() -> None:
    """As weights that are rounded to zero leave them: hardly a code changes, and the ends alone say which it is."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        zero_point = int(rng.integers(-128, 100))
        least = rng.integers(-40, 400, 6)
        greatest = least + rng.integers(0, 12, 6)
        multiplier = quantize_multiplier(torch.tensor(10 ** rng.uniform(-3, -0.4, 6), dtype=torch.float64))
        given = Accumulators(np.zeros(6, np.int64), multiplier, zero_point, zero_point, 127, least, greatest)
        found = requantization(given)
        assert found.form == "Q_POSITIVE"
        for channel in range(6):
            # Each channel's own sums, all of them, the others' at their ends.
            for total in range(least[channel], greatest[channel] + 1):
                sums = np.where(np.arange(6) == channel, total, least)[:, None]
                np.testing.assert_array_equal(
                    computed(found, given, sums), exact_codes(given, sums).clip(zero_point, 127)
                )


def test_words_hold_32_bits_and_no_more() -> None:
    """As signed ones or as unsigned ones, in which the largest are the smallest negative numbers."""
    held = module._words(np.array([-(2**31), 2**31 - 1]), np.array([2**32 - 1, 0]))
    assert held.tolist() == [[-(2**31), -1], [2**31 - 1, 0]]
    for beyond in (2**32, -(2**31) - 1):
        with pytest.raises(ValueError, match=r"expected numbers of 32 bits"):
            module._words(np.array([0, beyond]))
