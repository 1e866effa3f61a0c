"""Offsets and spans from data and from constants."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from qtorch.errors import BadData, NotFinite
from qtorch.features import Feature

DATA = [[3.0, -5.0], [7.0, 11.0]]


@pytest.mark.parametrize(
    "values", [DATA, np.array(DATA, np.float32), torch.tensor(DATA)], ids=["list", "numpy", "torch"]
)
def test_the_three_ways(values: object) -> None:
    assert Feature.scaled("a", "L", values) == Feature("a", "L", 0.0, 11.0)
    assert Feature.min_max("a", "L", values) == Feature("a", "L", -5.0, 16.0)
    standardized = Feature.standardized("a", "L", values)
    assert standardized.offset == pytest.approx(4.0)
    assert standardized.span == pytest.approx(math.sqrt((1 + 81 + 9 + 49) / 4))


def test_constants_are_values_too() -> None:
    assert Feature.scaled("a", "", 255.0) == Feature("a", "", 0.0, 255.0)
    assert Feature.min_max("a", "", (20, 90)) == Feature("a", "", 20.0, 70.0)


def test_network_values_have_what_was_asked_for() -> None:
    x = np.random.default_rng(0).normal(1013, 9, 500)
    assert np.abs(Feature.scaled("a", "", x).network_values(x)).max() == 1
    ranged = Feature.min_max("a", "", x).network_values(x)
    assert (ranged.min(), ranged.max()) == (0, 1)
    standardized = Feature.standardized("a", "", x).network_values(x)
    assert standardized.mean() == pytest.approx(0, abs=1e-9)
    assert standardized.std() == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: Feature.scaled("gas", "", [0.0, 0.0]),
            r"feature 'gas': expected values other than 0, got 0 in all 2\.",
        ),
        (lambda: Feature.min_max("gas", "", np.full(3, 0.1)), "values that differ, got 0.1 in all 3. Remedy: leave"),
        (lambda: Feature.standardized("gas", "", np.full(10, 0.1)), "values that differ, got 0.1 in all 10"),
        (lambda: Feature.min_max("gas", "", []), "expected values to measure, got none"),
        (
            lambda: Feature("gas", span=0.0),
            r"feature 'gas': expected .* positive, finite span, got offset 0.0 and span 0",
        ),
        (lambda: Feature("gas", span=-1.0), "positive, finite span"),
    ],
)
def test_what_does_not_vary_is_refused(make: Callable[[], Feature], expected: str) -> None:
    with pytest.raises(BadData, match=expected):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Feature.scaled("gas", "", [1.0, math.nan]),
        lambda: Feature.min_max("gas", "", [1.0, math.inf]),
        lambda: Feature.standardized("gas", "", [1.0, -math.inf]),
        lambda: Feature("gas", offset=math.nan),
        lambda: Feature("gas", span=math.inf),
    ],
)
def test_what_is_not_finite_is_refused(make: Callable[[], Feature]) -> None:
    with pytest.raises(NotFinite, match=r"feature 'gas': expected .*Remedy: clean the data"):
        make()
