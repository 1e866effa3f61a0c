"""What repeated measurements say: their median, and where the middle half of them lies."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Spread", "cell", "ratios", "spread"]


@dataclass(frozen=True)
class Spread:
    """Quartiles of ``count`` measurements."""

    median: float
    low: float
    high: float
    count: int


def spread(measured: Sequence[float]) -> Spread:
    """Quartiles, inclusive: of two measurements or one, the least and the greatest.

    Example:
        >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
        Spread(median=3.0, low=2.0, high=4.0, count=5)
    """
    if len(measured) < 3:
        return Spread(statistics.median(measured), min(measured), max(measured), len(measured))
    low, median, high = statistics.quantiles(measured, n=4, method="inclusive")
    return Spread(median, low, high, len(measured))


def ratios(turns: Sequence[Mapping[str, float]], base: str = "float") -> dict[str, Spread]:
    """Of each kind but ``base`` its measurement over that of ``base`` in the same turn; in the order of the kinds.

    Example:
        >>> ratios([{"float": 2.0, "QAT": 3.0}])
        {'QAT': Spread(median=1.5, low=1.5, high=1.5, count=1)}
    """
    return {kind: spread([turn[kind] / turn[base] for turn in turns]) for kind in turns[0] if kind != base}


def cell(found: Mapping[str, float], form: str = ".2f") -> str:
    """A spread as JSON holds it, for a table.

    Example:
        >>> cell({"median": 1.5, "low": 1.4, "high": 1.75, "count": 21})
        '1.50 (1.40 to 1.75)'
    """
    median, low, high = (format(found[name], form) for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low} to {high})"
