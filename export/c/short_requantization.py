"""Requantization for an 8-bit processor: a sum of 24 bits times a multiplier of 24 or 32, proven or refused.

    level = (((sum - origin) * multiplier >> 8) + fraction) >> 24
    code = low where the sum is below the origin, else low + min(level, high - low)

A processor that multiplies bytes takes eight to twelve products for that instead of sixteen. TFLite Micro's own
rounding treats negative sums otherwise than positive ones, so the fraction may depend on the sum's sign. Both this and
TFLite Micro's arithmetic are monotone in the sum, on either side of zero at least; so where they agree on both sides of
each place at which TFLite Micro's code changes, around zero, and at the ends, they agree everywhere in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from export.c.remembered import remembered
from export.c.requantization import exact_codes, thresholds
from qtorch.row.kernel_call import Accumulators

__all__ = ["Short", "short_codes", "short_requantization"]

#: Of a fraction: the lowest of five bytes counts for nothing.
_UNIT = 1 << 24
Form: TypeAlias = Literal[16, 24, 32, 40]
#: The fastest first.
_FORMS: tuple[Form, ...] = (16, 24, 40, 32)
#: The least multiplier of form 40, a sum further of which outweighs what its product leaves out: it stays monotone.
_FLATTEST = 1 << 18
_NUDGES = np.array(sorted(range(-12, 13), key=abs), np.int64)


@dataclass(frozen=True)
class Short:
    """Constants of the short arithmetic, all int64 ``[C]``.

    Attributes:
        form: bits of what is multiplied: 16 takes sums of 16 bits, beyond which the code is the highest, and
            multipliers of 32; 24 takes sums and multipliers of 24; 32 takes sums of 24 and multipliers of 32; 40 takes
            the same, multipliers eight bits finer.
        origin: what is subtracted from the sums; the difference fits 24 bits with sign.
        multiplier: in units of ``2**-32``, of form 40 of ``2**-40``.
        above: fraction of sums from 0 up, in units of ``2**-24``, below 1.
        below: fraction of negative sums.
    """

    form: Form
    origin: np.ndarray
    multiplier: np.ndarray
    above: np.ndarray
    below: np.ndarray

    @property
    def splits(self) -> bool:
        """Whether the fraction depends on the sum's sign."""
        return bool((self.above != self.below).any())


def short_codes(short: Short, sums: np.ndarray, low: int, high: int) -> np.ndarray:
    """Codes, int64 ``[C, K]``, of ``sums`` of that shape, as the processor computes them."""
    moved = sums - short.origin[:, None]
    fraction = np.where(sums >= 0, short.above[:, None], short.below[:, None])
    level = (_product(moved, short.multiplier[:, None], short.form) + fraction) >> 24
    if short.form == 16:
        level = np.where(moved >= 1 << 16, high - low, level)
    return np.where(moved < 0, low, low + np.minimum(level, high - low))


def _product(moved: np.ndarray, multiplier: np.ndarray, form: Form) -> np.ndarray:
    """In units of ``2**-24`` of a level."""
    product: np.ndarray = moved * multiplier
    if form != 40:
        return product >> 8
    # Of products of bytes below the lowest of the result the high byte counts, or nothing.
    (s0, s1), (m0, m1) = ((number & 255, number >> 8 & 255) for number in (moved, multiplier))
    return product - s0 * m0 - ((s1 * m0 & 255) + (s0 * m1 & 255) << 8) >> 16


@remembered
def short_requantization(accumulators: Accumulators) -> Short | None:
    """The short arithmetic that gives every channel's codes on every sum that can occur; ``None``: none was found."""
    for form in _FORMS:
        short = _solved(accumulators, form)
        if short is not None and agrees(accumulators, short):
            return short
    return None


def agrees(accumulators: Accumulators, short: Short) -> bool:
    """Whether the short arithmetic is proven: equal where the code changes, around zero, and at the ends."""
    changes = thresholds(accumulators)
    ends = [accumulators.least[:, None], accumulators.greatest[:, None]]
    points = np.concatenate(
        [changes.sums, changes.sums - 1, np.zeros_like(ends[0]), np.full_like(ends[0], -1), *ends], 1
    )
    # A point that does not occur stands for the nearest sum that does.
    points = points.clip(*ends)
    moved = points - short.origin[:, None]
    if moved.min(initial=0) < -(1 << 23) or moved.max(initial=0) >= 1 << 23:
        return False
    low, high = accumulators.low, accumulators.high
    exact = exact_codes(accumulators, points).clip(low, high)
    return bool((short_codes(short, points, low, high) == exact).all())


def _solved(accumulators: Accumulators, form: Form) -> Short | None:
    """Multipliers near the real ones, with fractions that satisfy every threshold."""
    mantissa, shift = (t.numpy().astype(np.float64) for t in accumulators.multiplier)
    real = mantissa * 2.0 ** (shift + 1)  # in units of 2**-32
    scaled = real * 2.0**8 if form == 40 else real
    limit = 1 << (24 if form == 24 else 32)
    if scaled.min(initial=_FLATTEST) < (_FLATTEST if form == 40 else 1) or scaled.max(initial=0.0) >= limit - 16:
        return None
    changes = thresholds(accumulators)
    if not len(changes.codes):  # one code for all
        return None
    # The origin lies a quarter of a code before the first level, which is half a code above the lowest code's own sum.
    first = np.where(
        changes.occurs[:, 0],
        changes.sums[:, 0],
        np.ceil((accumulators.low + 0.5 - accumulators.zero_point) / real * 2**32),
    ).astype(np.int64)
    origin = first - 1 - np.floor(2.0**30 / real).astype(np.int64)
    levels = (changes.codes - accumulators.low) * _UNIT
    reached, missed = changes.sums - origin[:, None], changes.sums - 1 - origin[:, None]
    if (reached < 0)[changes.occurs].any() or (form == 16 and (missed >= 1 << 16)[changes.occurs].any()):
        return None
    fits = form != 16 or reached < 1 << 16
    multiplier, above, below = (np.zeros_like(origin) for _ in range(3))
    missing = np.ones(len(origin), bool)
    for nudge in _NUDGES:
        tried = np.maximum(np.rint(scaled).astype(np.int64) + nudge, 1)
        needed = levels - _product(reached, tried[:, None], form)
        allowed = levels - 1 - _product(missed, tried[:, None], form)
        bounds = []
        for side in (1, -1):
            at = changes.occurs & fits & ((changes.sums >= 0) == (side > 0))
            before = changes.occurs & (missed >= 0) & ((changes.sums - 1 >= 0) == (side > 0))
            least = np.where(at, needed, 0).max(1, initial=0)
            most = np.where(before, allowed, _UNIT - 1).min(1, initial=_UNIT - 1)
            bounds.append((least, most))
        (least_above, most_above), (least_below, most_below) = bounds
        least, most = np.maximum(least_above, least_below), np.minimum(most_above, most_below)
        one = least <= most
        solved = missing & (least_above <= most_above) & (least_below <= most_below)
        above = np.where(solved, np.where(one, least + most, least_above + most_above) // 2, above)
        below = np.where(solved, np.where(one, least + most, least_below + most_below) // 2, below)
        multiplier = np.where(solved, tried, multiplier)
        missing &= ~solved
    return None if missing.any() else Short(form, origin, multiplier, above, below)
