"""Sums of two int8 codes in 32 bits where TFLite Micro takes three products of 64, tried on every pair of codes.

``code = clamp((x * a + y * b + addend) >> shift)``. For factors and a shift that are given, each pair of codes leaves
the addend an interval. Halves of negative sums go away from zero as those of positive ones do: a factor one unit too
great sees to that, far below what else it changes. Sums of products on int16
activations are in :mod:`qtorch.families.wide_sums`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np

from qtorch.row.kernel_call import Argument

__all__ = ["ShortSum", "short_sum"]

_CODES = np.arange(-128, 128, dtype=np.int64)
#: Both ends among them. What fails on pairs of these fails on all, and is seen a hundred times sooner, or twenty.
_FEW, _MORE = slice(None, None, 15), slice(None, None, 5)

#: Units from the nearest that factors are tried at; upwards further, because greater ones take ties away from zero.
_NUDGES = sorted(product(range(-3, 10), repeat=2), key=lambda pair: abs(pair[0]) + abs(pair[1]))

#: Shifts are tried from the greatest that int32 may have room for down to so many less.
_SHIFTS = 5


@dataclass(frozen=True)
class ShortSum:
    """Numbers of ``firmware/c/add_short_s8.h``, named as its parameters."""

    in_factor: int
    other_factor: int
    addend: int
    shift: int

    def sums(self) -> np.ndarray:
        """What is shifted, of every pair of codes from -128 on, int64 ``[256, 256]``."""
        return (_CODES * self.in_factor)[:, None] + _CODES * self.other_factor + self.addend

    def codes(self, low: int, high: int) -> np.ndarray:
        """What the kernel computes, int64 ``[256, 256]``."""
        return (self.sums() >> self.shift).clip(low, high)

    def fits(self) -> bool:
        """Whether every intermediate result is an int32, without the addend too."""
        sums = self.sums()
        steps = (sums, sums - self.addend, _CODES * self.in_factor, _CODES * self.other_factor)
        return all(int(np.abs(step).max()) < 2**31 for step in steps)

    def arguments(self) -> dict[str, Argument]:
        """By parameter."""
        return dict(asdict(self))


def short_sum(
    exact: np.ndarray, factors: tuple[float, float], zero_points: tuple[int, int, int], limits: tuple[int, int]
) -> ShortSum | None:
    """The first short form that gives the exact codes of all pairs, ``None`` if none does.

    Args:
        exact: int64 ``[256, 256]``: the clamped code for every pair of codes from -128 on.
        factors: of the operands in the output's steps; negative for what is subtracted.
        zero_points: of the operands and the output.
        limits: lowest and highest code.
    """
    for shift in _shifts(factors, zero_points):
        tried = [tuple(round(f * 2**shift) + n for f, n in zip(factors, nudge, strict=True)) for nudge in _NUDGES]
        # All factors at once on a few pairs, and those that are left on every pair.
        of_input, of_other = (np.array(each)[:, None] * _CODES[_FEW] for each in zip(*tried, strict=True))
        least, most = _addends(exact[_FEW, _FEW], of_input[:, :, None] + of_other[:, None], shift, limits)
        for index in np.flatnonzero(least <= most):
            a, b = tried[index]
            more = (_CODES[_MORE] * a)[:, None] + _CODES[_MORE] * b
            low, high = _addends(exact[_MORE, _MORE], more, shift, limits)
            if low > high:
                continue
            low, high = _addends(exact, ShortSum(a, b, 0, shift).sums(), shift, limits)
            form = ShortSum(a, b, int(low + high) // 2, shift)
            if low <= high and form.fits() and np.array_equal(form.codes(*limits), exact):
                return form
    return None


def _addends(exact: np.ndarray, sums: np.ndarray, shift: int, limits: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest addend that make exact codes of sums ``[..., 256, 256]``; none where they cross."""
    # At the lowest and the highest code only one side matters.
    least = np.where(exact > limits[0], (exact << shift) - sums, -(2**40)).max((-2, -1))
    most = np.where(exact < limits[1], ((exact + 1) << shift) - sums - 1, 2**40).min((-2, -1))
    return least, most


def _shifts(factors: tuple[float, float], zero_points: tuple[int, int, int]) -> Iterator[int]:
    """From one more than what certainly fits, which does too where zero points lie inside."""
    reach = 256 * (abs(factors[0]) + abs(factors[1])) + abs(zero_points[2]) + 1
    most = min(int(np.floor(32 - np.log2(reach))), 28)
    yield from range(most, max(most - _SHIFTS, 0), -1)
