"""Sums, extrema, variances, norms and softmaxes along axes, as means, poolings and softmaxes along the last one."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby
from typing import Any

import torch

from qtorch.capture.compositions.places_of_extrema import place_along
from qtorch.capture.compositions.table import (
    MOST_AXES,
    axis_of,
    concatenated,
    decomposes,
    kept_apart,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    sliced,
    squared_difference,
    writer_of,
)

aten = torch.ops.aten


def _count(x: Any, axes: list[int]) -> int:
    return math.prod(shape_of(x)[axis] for axis in axes)


@decomposes("sum")
def _sum(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The mean, times how many there are.

    The device's SUM gave the very codes of these two wherever both were tried, since their grids differ by that factor;
    but LiteRT's reference kernel of it, which judges where TFLite Micro is absent, reads memory that nobody has
    written.
    """
    axes = kept_apart(input, dim)
    if axes is None:
        return None
    mean = aten.mean.dim(input, axes, keepdim)
    return mean if _count(input, axes) == 1 else aten.mul.Tensor(mean, _count(input, axes))


@decomposes("nansum")
def _nansum(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The sum: no number of the device is none."""
    return _sum(input, dim, keepdim)


@decomposes("nanmean")
def _nanmean(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    axes = kept_apart(input, dim)
    return None if axes is None else aten.mean.dim(input, axes, keepdim)


@decomposes("prod")
def _prod(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Halves multiplied with each other, again and again: few of many roundings lie one behind the other."""
    axes = kept_apart(input, dim)
    if axes is None:
        return None
    (axis,) = axes
    while (size := shape_of(input)[axis]) > 1:
        parts = [sliced(input, axis, start, start + size // 2) for start in (0, size // 2)]
        product = aten.mul.Tensor(*parts)
        rest = sliced(input, axis, size - 1, size)
        input = aten.cat.default([product, rest], axis) if size % 2 else product
    return input if keepdim else aten.squeeze.dim(input, axis)


def _pooled(input: Any, axes: list[int], keepdim: bool) -> Any:
    """A max pooling whose window is all of it: of the image's own axes, or of what is moved behind all others."""
    shape = shape_of(input)
    rank = len(shape)
    if _is_image(input, axes):
        window = [shape[axis] if axis in axes else 1 for axis in range(2, rank)]
        pooled = (aten.max_pool2d if rank == 4 else aten.max_pool1d).default(input, window)
    else:
        kept = [axis for axis in range(rank) if axis not in axes]
        if any(not isinstance(shape[axis], int) for axis in kept[1:]):
            return None
        between, size = _count(input, kept[1:]), _count(input, axes)
        image = reshaped(permuted(input, kept + axes), (shape[kept[0]], 1, between, size))
        pooled = aten.max_pool2d.default(image, [1, size])
    return reshaped(pooled, [1 if axis in axes else shape[axis] for axis in range(rank) if keepdim or axis not in axes])


def _is_image(input: Any, axes: list[int]) -> bool:
    """Whether axes are those along which a pooling's window lies."""
    rank = len(shape_of(input))
    return rank in (3, 4) and set(axes) <= set(range(2, rank))


@decomposes("amax")
def _amax(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """Of an image's own axes a max pooling, whose kernels are the faster ones; of others too where codes have 16 bits,
    for which the device's REDUCE_MAX has no kernel.
    """
    axes = kept_apart(input, dim)
    return _pooled(input, axes, keepdim) if axes and (_is_image(input, axes) or _is_wide(input)) else None


@decomposes("amin")
def _amin(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """Where codes have 16 bits, for which the device's REDUCE_MIN has no kernel: the largest of what is negated."""
    axes = kept_apart(input, dim)
    if not axes or not _is_wide(input):
        return None
    largest = _pooled(aten.mul.Tensor(input, -1), axes, keepdim)
    return None if largest is None else aten.mul.Tensor(largest, -1)


def _is_wide(x: Any) -> bool:
    return "int16" in writer_of(x).activations


def _extremum(of_two: Any, along: Any, place: Any) -> Any:
    """Along an axis, with the places; of two tensors, elementwise; of a tensor without its samples."""

    def decomposition(input: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if other is not None:
            return of_two(input, other)
        if kept_apart(input, dim) is None:
            return None
        return along(input, [dim], keepdim), place_along(place, input, dim, keepdim)

    return decomposition


decomposes("max")(_extremum(aten.maximum.default, aten.amax.default, aten.argmax.default))
decomposes("min")(_extremum(aten.minimum.default, aten.amin.default, aten.argmin.default))


def _variance(x: Any, axes: list[int], keepdim: bool, correction: float) -> Any:
    count = _count(x, axes)
    if count <= correction:
        return None
    variance = aten.mean.dim(squared_difference(x, aten.mean.dim(x, axes, True)), axes, keepdim)
    return aten.mul.Tensor(variance, count / (count - correction)) if correction else variance


def _correction(unbiased: bool, correction: float | None) -> float:
    return int(unbiased) if correction is None else correction


@decomposes("var")
def _var(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, correction: Any = None) -> Any:
    axes = kept_apart(input, dim)
    return None if axes is None else _variance(input, axes, keepdim, _correction(unbiased, correction))


@decomposes("std")
def _std(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, correction: Any = None) -> Any:
    variance = _var(input, dim, unbiased, keepdim, correction)
    return None if variance is None else aten.sqrt.default(variance)


@decomposes("var_mean")
def _var_mean(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, correction: Any = None) -> Any:
    variance = _var(input, dim, unbiased, keepdim, correction)
    return None if variance is None else (variance, aten.mean.dim(input, kept_apart(input, dim), keepdim))


@decomposes("std_mean")
def _std_mean(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, correction: Any = None) -> Any:
    deviation = _std(input, dim, unbiased, keepdim, correction)
    return None if deviation is None else (deviation, aten.mean.dim(input, kept_apart(input, dim), keepdim))


def _along_last(input: Any, dim: int, softmax: Any) -> Any:
    """A softmax where the axis stands last; None where it does already, or is the batch's."""
    rank, axis = len(shape_of(input)), axis_of(input, dim)
    if axis == rank - 1 or not isinstance(shape_of(input)[axis], int):
        return None
    order = [i for i in range(rank) if i != axis] + [axis]
    return permuted(softmax(permuted(input, order), rank - 1), [order.index(i) for i in range(rank)])


@decomposes("softmax")
def _softmax(input: Any, dim: int) -> Any:
    return _along_last(input, dim, aten.softmax.int)


@decomposes("log_softmax")
def _log_softmax(input: Any, dim: int) -> Any:
    return _along_last(input, dim, aten.log_softmax.int)


@decomposes("logsumexp")
def _logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """The largest less the log-softmax of the largest: nothing overflows, and neither is far from the result."""
    axes = kept_apart(input, dim)
    if axes is None:
        return None
    if len(axes) > 1:
        kept = [axis for axis in range(len(shape_of(input))) if axis not in axes]
        front = [shape_of(input)[axis] for axis in kept]
        merged = reshaped(permuted(input, kept + axes), (*front, _count(input, axes)))
        return reshaped(aten.logsumexp.default(merged, [len(kept)]), result_shape(input))
    largest = aten.amax.default(input, axes, keepdim)
    return aten.sub.Tensor(largest, aten.amax.default(aten.log_softmax.int(input, axes[0]), axes, keepdim))


#: Of so many numbers the matrix of all their sums is 64 KiB.
_MOST_SUMMED = 256


@decomposes("cumsum")
def _cumsum(input: Any, dim: int) -> Any:
    """A product with a triangle of ones, which adds in int32 and rounds once.

    The device's CUMSUM starts at less the zero point instead of 0, and leaves int32 after 16 numbers.
    """
    shape, axis = shape_of(input), axis_of(input, dim)
    size, last = shape[axis], len(shape) - 1
    if kept_apart(input, dim) is None or size > _MOST_SUMMED:
        return None
    like = input.node.meta["val"]
    options = {"dtype": like.dtype, "device": like.device}
    ones = input.tracer.create_proxy("call_function", aten.ones.default, ([size, size],), options)
    order = [i for i in range(last + 1) if i != axis] + [axis]
    sums = aten.linear.default(permuted(input, order), aten.tril.default(ones))
    return permuted(sums, [order.index(i) for i in range(last + 1)])


@decomposes("cumprod")
def _cumprod(input: Any, dim: int) -> Any:
    return _running(input, dim, aten.mul.Tensor)


@decomposes("logcumsumexp")
def _logcumsumexp(input: Any, dim: int) -> Any:
    return _running(input, dim, aten.logaddexp.default)


@decomposes("cummax")
def _cummax(input: Any, dim: int) -> Any:
    values = _running(input, dim, aten.maximum.default)
    return None if values is None else (values, None)


@decomposes("cummin")
def _cummin(input: Any, dim: int) -> Any:
    values = _running(input, dim, aten.minimum.default)
    return None if values is None else (values, None)


def _running(x: Any, dim: int, combine: Callable[[Any, Any], Any]) -> Any:
    """Each with all before it, in as many steps as its place has binary digits, each of which doubles their number."""
    axis = axis_of(x, dim)
    if kept_apart(x, dim) is None or shape_of(x)[axis] > _MOST_SUMMED:
        return None
    size, count = shape_of(x)[axis], 1
    while count < size:
        more = combine(sliced(x, axis, count, size), sliced(x, axis, 0, size - count))
        x, count = concatenated([sliced(x, axis, 0, count), more], axis), 2 * count
    return x


@decomposes("mean")
def _mean(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Of axes of size 1 a reshape; of many axes one of fewer, of neighbours that stay or go together."""
    axes = kept_apart(input, dim)
    if axes is None:
        return None
    if _count(input, axes) == 1:
        return reshaped(input, result_shape(input))
    shape = shape_of(input)
    if len(shape) <= MOST_AXES or any(not isinstance(size, int) for size in shape[1:]):
        return None
    groups = [list(group) for _, group in groupby(range(1, len(shape)), key=lambda axis: axis in axes)]
    merged = reshaped(input, (shape[0], *(math.prod(shape[axis] for axis in group) for group in groups)))
    gone = [i for i, group in enumerate(groups, 1) if group[0] in axes]
    if len(groups) + 1 >= len(shape) or not gone:
        return None
    return reshaped(aten.mean.dim(merged, gone), result_shape(input))
