"""Values in order along an axis, as maxima and minima of halves: topk, sort, median, kthvalue and quantile.

A bitonic network sorts rows of ``2 ** m`` in ``m (m + 1) / 2`` steps, each of which compares all pairs, and keeps
the smaller number of each in one half and the larger in the other. No number is rounded. Where the values stood is not
known of any: that is left to calls that take one alone.
Source: Batcher 1968, "Sorting networks and their applications".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from qtorch.capture.compositions.known_values import known_value
from qtorch.capture.compositions.table import axis_of, concatenated, decomposes, reshaped, shape_of, sliced

aten = torch.ops.aten

#: The longest axis that is sorted: 36 steps of some eight ops.
_MOST = 256


def _in_order(x: Any, dim: int, descending: bool) -> Any:
    """``x`` with the numbers along an axis in order; None where that is the batch's, or longer than can be sorted."""
    shape, axis = shape_of(x), axis_of(x, dim)
    count = shape[axis]
    if not axis or not all(isinstance(size, int) for size in shape[1:]) or not 1 <= count <= _MOST:
        return None
    width, first = 1 << (count - 1).bit_length(), (aten.maximum.default if descending else aten.minimum.default)
    last = aten.minimum.default if descending else aten.maximum.default
    if width > count:
        # What goes behind all others.
        filling = (aten.amin if descending else aten.amax).default(x, [axis], True)
        x = concatenated([x, *[filling] * (width - count)], axis)
    before, behind = math.prod(shape[1:axis]) * width, math.prod(shape[axis + 1 :])
    for step in range(1, width.bit_length()):
        for pair in range(step, 0, -1):
            half = 2 ** (pair - 1)
            halves = reshaped(x, (shape[0], before // (2 * half), 2, half * behind))
            one, other = (aten.select.int(halves, 2, place) for place in (0, 1))
            turns = pair == step and half > 1
            other = _turned(other, half) if turns else other
            low, high = first(one, other), last(one, other)
            x = aten.cat.default([low, _turned(high, half) if turns else high], 2)
    return sliced(reshaped(x, (*shape[:axis], width, *shape[axis + 1 :])), axis, 0, count)


def _turned(x: Any, count: int) -> Any:
    """``[N, G, count * T]`` with the first ``T`` numbers of each group last."""
    shape = shape_of(x)
    groups = reshaped(x, (*shape[:2], count, shape[2] // count))
    return reshaped(aten.flip.default(groups, [2]), shape)


def _at(x: Any, dim: int, place: int, keepdim: bool) -> Any:
    ordered = _in_order(x, dim, False)
    if ordered is None:
        return None
    axis = axis_of(x, dim)
    found = aten.select.int(ordered, axis, place)
    return (aten.unsqueeze.default(found, axis) if keepdim else found), None


@decomposes("topk")
def _topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Of several, in order."""
    ordered = _in_order(input, dim, largest)
    return None if ordered is None else (sliced(ordered, axis_of(input, dim), 0, k), None)


@decomposes("sort")
def _sort(input: Any, dim: int = -1, descending: bool = False, stable: Any = None) -> Any:
    ordered = _in_order(input, dim, descending)
    return None if ordered is None else (ordered, None)


@decomposes("kthvalue")
def _kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    return _at(input, dim, k - 1, keepdim)


@decomposes("median")
def _median(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The lower one of two."""
    return None if dim is None else _at(input, dim, (shape_of(input)[dim] - 1) // 2, keepdim)


@decomposes("quantile", "nanquantile")
def _quantile(input: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear") -> Any:
    """Between two values, or one of these."""
    shares = q if isinstance(q, int | float) else known_value(q)
    ordered = None if dim is None or shares is None else _in_order(input, dim, False)
    if ordered is None:
        return None
    axis = axis_of(input, dim)
    # In float32, as torch finds them: 0.29 of 100 is 29 there, and less in the doubles of Python.
    places = torch.as_tensor(shares, dtype=torch.float32).flatten() * (shape_of(input)[axis] - 1)
    found = [_quantile_of(ordered, axis, place, interpolation) for place in places.tolist()]
    found = found if keepdim else [aten.squeeze.dim(each, axis) for each in found]
    return aten.stack.default(found) if isinstance(shares, torch.Tensor) and shares.dim() else found[0]


def _quantile_of(ordered: Any, axis: int, place: float, interpolation: str) -> Any:
    whole: dict[str, Callable[[float], float]] = {"lower": math.floor, "higher": math.ceil, "nearest": round}
    place = whole.get(interpolation, float)(place)
    low, high = (sliced(ordered, axis, at, at + 1) for at in (math.floor(place), math.ceil(place)))
    apart = 0.5 if interpolation == "midpoint" else place - math.floor(place)
    return low if place == math.floor(place) else aten.lerp.Scalar(low, high, apart)
