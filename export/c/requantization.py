"""How int32 sums become codes in C: the shortest arithmetic that is proven to give TFLite Micro's codes.

Both the exact arithmetic and a shorter one are monotone in the sum, so they agree on every sum as soon as they agree on
both sides of each place where the code changes. There are at most 255 such places per channel: all are tried.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from export.c.remembered import remembered, remembered_by
from qtorch.numbers.fixedpoint import Multiplier, requantize
from qtorch.row.kernel_call import Accumulators

__all__ = ["Channels", "Thresholds", "exact_codes", "requantization", "thresholds"]

#: How far the sum at which a code begins may lie from the real quotient and still be found there: both roundings
#: together move it by less.
_NEAR = 2


@dataclass(frozen=True)
class Channels:
    """Constants of a layer's requantization, as ``firmware/c/requantize.h`` describes them.

    Attributes:
        form: which of the arithmetics.
        words: int32 ``[C, 3]``, or ``[C, 4]`` of the exact form.
    """

    form: Literal["Q_POSITIVE", "Q_EXACT", "Q_WIDE"]
    words: np.ndarray


@dataclass(frozen=True)
class Thresholds:
    """The least sum that has each code, or a larger one.

    Attributes:
        codes: int64 ``[K]``: every code above the least allowed one.
        sums: int64 ``[C, K]``.
        occurs: bool ``[C, K]``: whether some input's sum reaches it and another's does not.
    """

    codes: np.ndarray
    sums: np.ndarray
    occurs: np.ndarray


def exact_codes(accumulators: Accumulators, sums: np.ndarray) -> np.ndarray:
    """TFLite Micro's codes, int64 ``[C, ...]``, of int64 ``sums`` of that shape, zero point added, not clamped."""
    mantissa, shift = (t.reshape(-1, *[1] * (sums.ndim - 1)) for t in accumulators.multiplier)
    scaled: np.ndarray = requantize(torch.from_numpy(sums.copy()), Multiplier(mantissa, shift)).numpy()
    return scaled + accumulators.zero_point


@remembered  # several arithmetics are tried on them
def thresholds(accumulators: Accumulators) -> Thresholds:
    """Where the codes of each channel change, from the exact arithmetic itself."""
    codes = np.arange(accumulators.low + 1, accumulators.high + 1, dtype=np.int64)
    # The lower end is taken to lie below the threshold.
    low, high = _around(accumulators, codes)
    while np.any(high - low > 1):
        middle = (low + high) >> 1
        above = exact_codes(accumulators, middle) >= codes
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    reached = exact_codes(accumulators, high) >= codes
    return Thresholds(codes, high, reached & (high > accumulators.least[:, None]))


def _around(accumulators: Accumulators, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums between which each threshold lies, int64 ``[C, K]`` each: beside the real quotient where the exact
    arithmetic says so, else the least but one and the greatest of all."""
    least, greatest = accumulators.least[:, None] - 1, accumulators.greatest[:, None]
    mantissa, shift = (t.numpy().astype(np.float64)[:, None] for t in accumulators.multiplier)
    # Of a multiplier of 0 no quotient is near.
    real = np.where(mantissa > 0, mantissa, 1) * 2.0 ** (shift - 31)
    near = np.floor((codes - accumulators.zero_point - 0.5) / real).clip(-(2.0**40), 2.0**40).astype(np.int64)
    low, high = (near - _NEAR).clip(least, greatest), (near + _NEAR).clip(least + 1, greatest)
    below = (low == least) | (exact_codes(accumulators, np.maximum(low, least + 1)) < codes)
    above = (high == greatest) | (exact_codes(accumulators, high) >= codes)
    right = below & above
    return np.where(right, low, least), np.where(right, high, greatest)


def _content(accumulators: Accumulators) -> Hashable:
    arrays = (
        accumulators.bias,
        *(t.numpy() for t in accumulators.multiplier),
        accumulators.least,
        accumulators.greatest,
    )
    return (
        accumulators.zero_point, accumulators.low, accumulators.high,
        *(array.tobytes() for array in arrays),
    )  # fmt: skip


@remembered
@remembered_by(_content)  # a network is planned in several ways, each with accumulators of its own
def requantization(accumulators: Accumulators) -> Channels:
    """The shortest form that is exact on every sum between ``least`` and ``greatest``.

    Raises:
        ValueError: a bias or mantissa is no int32.
    """
    mantissa, shift = (t.numpy() for t in accumulators.multiplier)
    # A channel of few sums, as a weight that is rounded to zero leaves it, has few codes to choose its fraction by.
    short = _positive(accumulators) or _positive(accumulators, ends_too=True)
    if short is not None:
        return Channels("Q_POSITIVE", _words(accumulators.bias, *short))
    fits = (-shift >= 2) & (-shift <= 23)
    # A channel of one code, as one without weights, needs no multiplier: half of an odd number rounds down to it.
    if (fits | ~thresholds(accumulators).occurs.any(1)).all():
        right = np.where(fits, -shift, 2)
        addend = (np.int64(1) << (right - 2)) + (np.int64(accumulators.zero_point) << (right - 1))
        code = exact_codes(accumulators, accumulators.least[:, None])[:, 0].clip(accumulators.low, accumulators.high)
        addend = np.where(fits, addend, 2 * code + 1)
        return Channels("Q_EXACT", _words(accumulators.bias, np.where(fits, mantissa, 0), addend, right - 1))
    return Channels("Q_WIDE", _words(accumulators.bias, mantissa, shift))


def _words(*columns: np.ndarray) -> np.ndarray:
    table = np.stack([np.asarray(column, np.int64) for column in columns], 1)
    if table.min() < -(2**31) or table.max() >= 2**32:
        raise ValueError(f"requantization: expected numbers of 32 bits, got {table.min()}..{table.max()}")
    return np.ascontiguousarray(table.astype(np.uint32).astype(np.int32))


def _positive(accumulators: Accumulators, ends_too: bool = False) -> tuple[np.ndarray, np.ndarray] | None:
    """Multipliers and fractions of Q_POSITIVE, or ``None`` where some channel has none.

    Fractions are sought by the sums at which a code changes, and, with ``ends_too``, by the least and greatest sums.
    """
    mantissa, shift = (t.numpy().astype(np.float64) for t in accumulators.multiplier)
    nearest = np.rint(mantissa * 2.0 ** (shift + 1)).astype(np.int64)  # of a real multiplier in units of 2**-32
    if nearest.max(initial=0) >= 2**31 - 4:
        return None
    changes = thresholds(accumulators)
    target = (changes.codes - accumulators.zero_point) << 32
    ends = np.stack([accumulators.least, accumulators.greatest], 1)
    limits = (accumulators.low, accumulators.high)
    at_ends = exact_codes(accumulators, ends)
    multiplier, fraction = nearest.copy(), np.zeros_like(nearest)
    missing = np.ones(len(nearest), bool)
    for nudge in (0, -1, 1, -2, 2, -3, 3):
        tried = np.maximum(nearest + nudge, 0)
        products = changes.sums * tried[:, None]
        # At the threshold the product and the fraction reach the code; one sum earlier they do not.
        least = np.where(changes.occurs, target - products, 0).max(1, initial=0)
        most = np.where(changes.occurs, target - (products - tried[:, None]) - 1, 2**32 - 1).min(1, initial=2**32 - 1)
        if ends_too:
            level = (at_ends.clip(*limits) - accumulators.zero_point << 32) - ends * tried[:, None]
            least = np.where(at_ends > accumulators.low, level, 0).max(1, initial=0).clip(least)
            below = np.where(at_ends < accumulators.high, level + 2**32 - 1, 2**32 - 1)
            most = below.min(1, initial=2**32 - 1).clip(max=most)
        solved = missing & (least <= most)
        multiplier, fraction = np.where(solved, tried, multiplier), np.where(solved, (least + most) // 2, fraction)
        missing &= ~solved
    if missing.any():
        return None
    short = ((ends * multiplier[:, None] + fraction[:, None]) >> 32) + accumulators.zero_point
    # Where no code changes on the way, the ends tell whether both are on the same side.
    if (short.clip(*limits) != at_ends.clip(*limits)).any():
        return None
    return multiplier, fraction
