"""The discrete Fourier transform of int16 numbers as TFLM's front end computes it: mixed radix, rounded at every step.

A transform of ``2 n`` real numbers is one of ``n`` complex ones, the even and the odd ones of them, and a last step
that takes the two apart. Numbers are divided by the radix at each stage and halved at the end, so that the result is
the spectrum over ``2 n``; sums wrap in int16. Back it goes the other way around, over ``2 n`` once more.
Source: kissfft with ``FIXED_POINT`` 16 behind TFLM ``signal/src/rfft_int16.cc`` and ``irfft_int16.cc``; the order of
rounding is its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qtorch.row.row import Attrs
from qtorch.row.shape_rule import require

__all__ = ["Stage", "real_numbers", "real_spectrum", "real_turns", "require_transform", "stages", "turns", "wrapped_16"]

#: Of butterflies that take no memory while they run.
_LARGEST_RADIX = 5
#: Of the transform; its places are int16 in the kernel's table.
_LONGEST = 2**15
#: One, in Q0.15.
_ONE = 2**15 - 1


class Stage(NamedTuple):
    """One stage: ``stride`` blocks of ``radix`` parts of ``size`` numbers each."""

    radix: int
    size: int
    stride: int


@dataclass(frozen=True)
class _Complex:
    """Two int64 arrays of int16 numbers."""

    r: np.ndarray
    i: np.ndarray

    def at(self, places: np.ndarray) -> _Complex:
        """Some along the last axis."""
        return _Complex(self.r[..., places], self.i[..., places])


def stages(count: int) -> tuple[Stage, ...]:
    """Of a transform of ``count`` complex numbers, the outermost first: fours, then twos, then what is odd."""
    found, radix, root, rest = [], 4, math.isqrt(count), count
    while rest > 1:
        while rest % radix:
            radix = {4: 2, 2: 3}.get(radix, radix + 2)
            if radix > root:
                radix = rest
        found.append(Stage(radix, rest // radix, count // rest))
        rest //= radix
    return tuple(found)


def require_transform(attrs: Attrs) -> None:
    """Nothing, if kernels have the transform that a node's options ask for.

    Raises:
        BadShape: they have not.
    """
    length = attrs["fft_length"]
    require(attrs["type"] == "int16", "a transform of int16", f"one of {attrs['type']}")
    require(
        isinstance(length, int) and 4 <= length < _LONGEST and length % 2 == 0,
        f"an even fft_length from 4 to {_LONGEST - 2}",
        f"{length}",
    )
    largest = max(stage.radix for stage in stages(length // 2))
    require(
        largest <= _LARGEST_RADIX,
        "an fft_length of factors up to 5, for others of which the kernel has no memory",
        f"{length}, a multiple of {largest}",
    )


def turns(count: int, sign: int = -1) -> np.ndarray:
    """int16 ``[count, 2]``: cosine and sine of each part of a full turn, in Q0.15; forwards, for the way back, by 1."""
    return _unit([sign * 2 * math.pi * i / count for i in range(count)])


def real_turns(count: int, sign: int = -1) -> np.ndarray:
    """int16 ``[count // 2, 2]``: of the step between the spectra of the even and the odd numbers and that of all."""
    return _unit([sign * math.pi * ((i + 1) / count + 0.5) for i in range(count // 2)])


def _unit(phases: list[float]) -> np.ndarray:
    pairs = [[math.floor(0.5 + _ONE * f(phase)) for f in (math.cos, math.sin)] for phase in phases]
    return np.array(pairs, np.int16).reshape(-1, 2)


def wrapped_16(x: np.ndarray) -> np.ndarray:
    """int64 as int16 holds it."""
    return ((x + 2**15) & 0xFFFF) - 2**15


def _rounded(x: np.ndarray) -> np.ndarray:
    """A product in Q0.30 as Q0.15."""
    return wrapped_16((x + 2**14) >> 15)


def _over(x: _Complex, divisor: int) -> _Complex:
    return _Complex(_rounded(x.r * (_ONE // divisor)), _rounded(x.i * (_ONE // divisor)))


def _times(a: _Complex, b: _Complex) -> _Complex:
    return _Complex(_rounded(a.r * b.r - a.i * b.i), _rounded(a.r * b.i + a.i * b.r))


def _plus(a: _Complex, b: _Complex) -> _Complex:
    return _Complex(wrapped_16(a.r + b.r), wrapped_16(a.i + b.i))


def _minus(a: _Complex, b: _Complex) -> _Complex:
    return _Complex(wrapped_16(a.r - b.r), wrapped_16(a.i - b.i))


def _quarter_turned(x: _Complex) -> _Complex:
    """Times minus i."""
    return _Complex(x.i, wrapped_16(-x.r))


def _of_two(x: list[_Complex], turned: list[_Complex]) -> list[_Complex]:
    return [_plus(*x), _minus(*x)]


def _of_three(x: list[_Complex], turned: list[_Complex]) -> list[_Complex]:
    (first, second, third), sine = x, turned[1].i
    total, apart = _plus(second, third), _minus(second, third)
    apart = _Complex(_rounded(apart.r * sine), _rounded(apart.i * sine))
    middle = _Complex(wrapped_16(first.r - (total.r >> 1)), wrapped_16(first.i - (total.i >> 1)))
    apart = _quarter_turned(apart)
    return [_plus(first, total), _minus(middle, apart), _plus(middle, apart)]


def _of_four(x: list[_Complex], turned: list[_Complex]) -> list[_Complex]:
    apart, total = _minus(x[0], x[2]), _plus(x[0], x[2])
    odd, across = _plus(x[1], x[3]), _quarter_turned(_minus(x[1], x[3]))
    return [_plus(total, odd), _plus(apart, across), _minus(total, odd), _minus(apart, across)]


def _of_five(x: list[_Complex], turned: list[_Complex]) -> list[_Complex]:
    one, two = turned[1], turned[2]
    outer, inner = _plus(x[1], x[4]), _plus(x[2], x[3])
    outer_apart, inner_apart = _minus(x[1], x[4]), _minus(x[2], x[3])

    def along(a: np.ndarray, by: np.ndarray, b: np.ndarray, by_b: np.ndarray) -> np.ndarray:
        return _rounded(a * by) + _rounded(b * by_b)

    def real(a: _Complex, b: _Complex) -> _Complex:
        parts = (along(outer.r, a.r, inner.r, b.r), along(outer.i, a.r, inner.i, b.r))
        return _Complex(wrapped_16(x[0].r + parts[0]), wrapped_16(x[0].i + parts[1]))

    first, second = real(one, two), real(two, one)
    turned_first = _Complex(
        wrapped_16(along(outer_apart.i, one.i, inner_apart.i, two.i)),
        wrapped_16(-along(outer_apart.r, one.i, inner_apart.r, two.i)),
    )
    turned_second = _Complex(
        wrapped_16(_rounded(inner_apart.i * one.i) - _rounded(outer_apart.i * two.i)),
        wrapped_16(_rounded(outer_apart.r * two.i) - _rounded(inner_apart.r * one.i)),
    )
    whole = _plus(x[0], _Complex(outer.r + inner.r, outer.i + inner.i))
    return [
        whole,
        _minus(first, turned_first),
        _plus(second, turned_second),
        _minus(second, turned_second),
        _plus(first, turned_first),
    ]


_BUTTERFLIES = {2: _of_two, 3: _of_three, 4: _of_four, 5: _of_five}


def _spectrum(x: np.ndarray, sign: int = -1) -> _Complex:
    """Of ``[rows, count, 2]`` int64."""
    count, plan = x.shape[1], stages(x.shape[1])
    table = _Complex(*turns(count, sign).astype(np.int64).T)
    # Digits of a place, the least first, are those of where it is read, the greatest first.
    radices = [stage.radix for stage in plan]
    order = np.arange(count).reshape(radices[::-1]).transpose().reshape(-1)
    found = _Complex(x[:, order, 0], x[:, order, 1])
    for radix, size, stride in reversed(plan):
        parts = [_over(found.at(part), radix) for part in _parts(count, radix, size)]
        places = np.tile(np.arange(size), stride) * stride
        parts[1:] = [_times(part, table.at(places * number)) for number, part in enumerate(parts[1:], 1)]
        corners = [table.at(np.array(number * size * stride)) for number in range(radix)]
        joined = _BUTTERFLIES[radix](parts, corners)
        if radix == 4 and sign > 0:
            joined[1], joined[3] = joined[3], joined[1]
        found = _Complex(found.r.copy(), found.i.copy())
        for part, made in zip(_parts(count, radix, size), joined, strict=True):
            found.r[:, part], found.i[:, part] = made.r, made.i
    return found


def _parts(count: int, radix: int, size: int) -> np.ndarray:
    """``[radix, places]``: where the numbers of each part lie, block by block."""
    return np.arange(count).reshape(-1, radix, size).transpose(1, 0, 2).reshape(radix, -1)


def real_spectrum(x: np.ndarray) -> np.ndarray:
    """int64 ``[rows, 2 n]`` to ``[rows, 2 n + 2]``: real and imaginary part of each frequency from 0 to half of all."""
    count = x.shape[1] // 2
    spectrum = _spectrum(x.reshape(len(x), count, 2))
    found = _over(spectrum, 2)
    out = np.zeros((len(x), count + 1, 2), np.int64)
    out[:, 0, 0], out[:, count, 0] = found.r[:, 0] + found.i[:, 0], found.r[:, 0] - found.i[:, 0]
    table = _Complex(*real_turns(count).astype(np.int64).T)
    places = np.arange(1, count // 2 + 1)
    near, opposite = found.at(places), spectrum.at(count - places)
    far = _over(_Complex(opposite.r, wrapped_16(-opposite.i)), 2)
    total, apart = _plus(near, far), _times(_minus(near, far), table)
    out[:, places, 0], out[:, places, 1] = (total.r + apart.r) >> 1, (total.i + apart.i) >> 1
    # The one in the middle is its own opposite, and is written as such.
    out[:, count - places, 0], out[:, count - places, 1] = (total.r - apart.r) >> 1, (apart.i - total.i) >> 1
    return wrapped_16(out).reshape(len(x), -1)


def real_numbers(x: np.ndarray) -> np.ndarray:
    """int64 ``[rows, 2 n + 2]``, as :func:`real_spectrum` gives it, to ``[rows, 2 n]``."""
    spectrum = _Complex(x[:, ::2], x[:, 1::2])
    count = spectrum.r.shape[1] - 1
    joined = np.zeros((len(x), count, 2), np.int64)
    first, last = spectrum.r[:, 0], spectrum.r[:, count]
    ends = _over(_Complex(wrapped_16(first + last), wrapped_16(first - last)), 2)
    joined[:, 0, 0], joined[:, 0, 1] = ends.r, ends.i
    places = np.arange(1, count // 2 + 1)
    opposite = spectrum.at(count - places)
    near, far = _over(spectrum.at(places), 2), _over(_Complex(opposite.r, wrapped_16(-opposite.i)), 2)
    table = _Complex(*real_turns(count, 1).astype(np.int64).T)
    even, odd = _plus(near, far), _times(_minus(near, far), table)
    total, apart = _plus(even, odd), _minus(even, odd)
    joined[:, places, 0], joined[:, places, 1] = total.r, total.i
    # The one in the middle is its own opposite, and is written as such.
    joined[:, count - places, 0], joined[:, count - places, 1] = apart.r, wrapped_16(-apart.i)
    found = _spectrum(joined, 1)
    return np.stack([found.r, found.i], -1).reshape(len(x), -1)
