"""Figures that describe a table: moments, quartiles, and rank correlation."""

from __future__ import annotations

import numpy as np

__all__ = ["DESCRIBED", "described", "ranks", "spearman", "spread"]

#: Names of what :func:`described` gives, in order.
DESCRIBED = ("count", "mean", "std", "min", "25 %", "50 %", "75 %", "max")


def described(values: np.ndarray) -> tuple[float, ...]:
    """:data:`DESCRIBED` of ``[N]``: standard deviation with N - 1, quartiles interpolated linearly."""
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    quartiles = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return (len(values), float(values.mean()), deviation, float(values.min()), *quartiles, float(values.max()))


def spread(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, standard deviation (with N), least and largest."""
    # Infinite values have a mean, and no deviation from it.
    with np.errstate(invalid="ignore"):
        return float(values.mean()), float(values.std()), float(values.min()), float(values.max())


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of ``[N]`` from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def spearman(columns: np.ndarray) -> np.ndarray:
    """Rank correlations ``[F, F]`` of ``[N, F]``: Pearson's coefficient of the ranks; NaN for a constant column."""
    ranked = np.stack([ranks(column) for column in columns.T], axis=1)
    centred = ranked - ranked.mean(0)
    norms = np.sqrt((centred**2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(centred.T @ centred / np.outer(norms, norms))
