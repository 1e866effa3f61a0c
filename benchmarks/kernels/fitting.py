"""Factors for terms: the least squares of relative errors, none of them negative."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from export.c.targets.counted import Fit

__all__ = ["fitted"]

_SWEEPS = 4000


def fitted(terms: Sequence[Mapping[str, float]], counted: Sequence[float], floor: float) -> Fit:
    """Factors of a sum of terms.

    Args:
        terms: of each call, by name.
        counted: of each call.
        floor: counts below it weigh as much as it does: their errors are small however large a share.
    """
    names = sorted({name for each in terms for name, times in each.items() if times})
    weights = 1 / np.maximum(np.abs(np.array(counted, float)), floor)
    matrix = np.array([[float(each.get(name, 0)) for name in names] for each in terms]) * weights[:, None]
    target = np.array(counted, float) * weights
    lengths = np.linalg.norm(matrix, axis=0)
    factors = _not_negative(matrix / lengths, target) / lengths
    errors = np.abs(matrix @ factors - target)
    kept = {name: float(f"{factor:.5g}") if factor > 1e-9 else 0.0 for name, factor in zip(names, factors, strict=True)}
    return Fit(kept, len(counted), round(float(errors.max()), 4), round(float(np.median(errors)), 4))


def _not_negative(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One factor after the other, over and over; columns have length 1."""
    products, start = matrix.T @ matrix, matrix.T @ target
    factors = np.zeros(len(start))
    for _ in range(_SWEEPS):
        before = factors.copy()
        for at in range(len(factors)):
            factors[at] = max(0.0, factors[at] + start[at] - float(products[at] @ factors))
        if np.abs(factors - before).max() < 1e-10:
            break
    return factors
