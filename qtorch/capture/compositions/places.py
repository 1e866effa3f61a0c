"""Elements at places that the network knows, read and written: indices, masks, diagonals, parts and strides.

What is written is a choice as well: of the tensor that was there and what is put into it, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.compositions.known_values import known_value, same_for_all
from qtorch.capture.compositions.picked_elements import MOST_PIECES, even_runs, picked, picked_by_line
from qtorch.capture.compositions.table import (
    axis_of,
    concatenated,
    constant,
    decomposes,
    is_constant,
    is_one,
    permuted,
    reshaped,
    result_shape,
    same_shape,
    shape_of,
    sliced,
)

aten = torch.ops.aten

#: Numbers of a matrix that adds up what goes to the same places.
_MOST_ADDED_UP = 1 << 16


def _places(indices: Sequence[Any], shape: Sequence[Any]) -> tuple[int, int, Tensor] | None:
    """The axes that indices are of, first and behind the last, and places in these axes merged; None of others.

    Args:
        indices: of an index, None where an axis stays; masks stand for as many axes as they have.
        shape: of what is indexed, the batch first, which stays.
    """
    axis, first, tensors = 0, None, list[Tensor]()
    for index in indices:
        if index is None:
            if tensors:
                break
            axis += 1
            continue
        value = known_value(index)
        if value is None or axis == 0:
            return None
        first = axis if first is None else first
        if value.dtype in (torch.bool, torch.uint8):
            if not value.dim():
                return None
            tensors += list(value.nonzero().unbind(1))
            axis += value.dim()
        else:
            tensors.append(value)
            axis += 1
    if first is None or any(index is not None for index in indices[first + len(_given(indices)) :]):
        return None
    sizes = shape[first:axis]
    if not all(isinstance(size, int) for size in sizes):
        return None
    places = torch.zeros((), dtype=torch.int64)
    for size, tensor in zip(sizes, tensors, strict=True):
        places = places * size + tensor % size
    return first, axis, places


def _given(indices: Sequence[Any]) -> list[Any]:
    return [index for index in indices if index is not None]


@decomposes("index")
def _index(input: Any, indices: Any) -> Any:
    """Of places along one axis, or several that stand together, that the network knows."""
    shape = shape_of(input)
    values = [known_value(index) for index in indices if index is not None]
    if len(values) == 1 and values[0] is not None and values[0].dtype == torch.bool and not values[0].dim():
        axis = next(i for i, index in enumerate(indices) if index is not None)
        return aten.unsqueeze.default(input, axis) if axis and values[0] else None
    found = _places(indices, shape)
    if found is None:
        return None
    first, last, places = found
    merged = reshaped(input, (*shape[:first], math.prod(shape[first:last]), *shape[last:]))
    taken = picked(merged, first, places.flatten().tolist())
    return None if taken is None else reshaped(taken, (*shape[:first], *places.shape, *shape[last:]))


@decomposes("index_select")
def _index_select(input: Any, dim: int, index: Any) -> Any:
    return _index(input, [*[None] * axis_of(input, dim), index])


@decomposes("take_along_dim", "gather")
def _gather(input: Any, dim: int, index: Any = None, indices: Any = None, sparse_grad: bool = False) -> Any:
    """Of places that are the same wherever they stand along the other axes, or of few."""
    axis, index = axis_of(input, dim), index if indices is None else indices
    places = _places_of_all(input, axis, index)
    return _each_picked(input, axis, index) if places is None else picked(input, axis, places)


def _told_once(index: Any) -> Tensor | None:
    """A known index as it is for one sample, of as many axes as it has in the call; None where samples differ."""
    value = known_value(same_for_all(index))
    if value is not None and isinstance(index, fx.Proxy):
        value = value.reshape(*[1] * (len(shape_of(index)) - value.dim()), *value.shape)
    return value if value is not None and value.dim() and value.shape[0] == 1 else None


def _each_picked(x: Any, axis: int, index: Any) -> Any:
    """Elements at places that are told one by one."""
    value, (_, *sizes) = _told_once(index), shape_of(x)
    if value is None or axis == 0 or value.dim() != len(sizes) + 1:
        return None
    given = (1, *result_shape(x)[1:])
    if any(wanted > size for i, (wanted, size) in enumerate(zip(given, (1, *sizes), strict=True)) if i != axis):
        return None
    return picked_by_line(x, axis, value.expand(given))


def _places_of_all(x: Any, axis: int, index: Any) -> list[int] | None:
    """Places along an axis of ``x`` that are the same ones wherever they stand along all other axes."""
    value, shape = _told_once(index), shape_of(x)
    if value is None or axis == 0 or value.dim() != len(shape):
        return None
    line = value.movedim(axis, -1).reshape(-1, value.shape[axis])
    others = [i for i in range(1, len(shape)) if i != axis]
    if (line != line[0]).any() or [shape_of(index)[i] for i in others] != [shape[i] for i in others]:
        return None
    return (line[0] % shape[axis]).tolist()


@decomposes("scatter_add")
def _scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    axis, shape = axis_of(input, dim), shape_of(input)
    places = _places_of_all(input, axis, index)
    if places is None or not same_shape(shape_of(src), (*shape[:axis], len(places), *shape[axis + 1 :])):
        return None
    return _written(input, axis, places, src, add=True)


@decomposes("scatter", "scatter_reduce")
def _scatter(
    input: Any, dim: int, index: Any, src: Any = None, value: Any = None, reduce: Any = None, include_self: bool = True
) -> Any:
    """Of places that are the same wherever they stand along the other axes, or of few."""
    axis, shape = axis_of(input, dim), shape_of(input)
    places, add = _places_of_all(input, axis, index), reduce in ("add", "sum")
    if (reduce is not None and not add) or not include_self:
        return None
    if places is None:
        return None if add else _each_written(input, axis, index, src, value)
    wanted = (*shape[:axis], len(places), *shape[axis + 1 :])
    if src is None:
        src = _spread(constant(input, torch.tensor(float(value))), wanted)
    else:
        src = sliced(src, axis, 0, len(places))
    return _written(input, axis, places, src, add) if same_shape(shape_of(src)[1:], wanted[1:]) else None


def _each_written(x: Any, axis: int, index: Any, src: Any, number: Any) -> Any:
    """``x`` with numbers of ``src``, or one number, at places that are told one by one, no place twice."""
    value, (batch, *sizes) = _told_once(index), shape_of(x)
    if value is None or axis == 0 or value.dim() != len(sizes) + 1:
        return None
    places, count = value.expand(1, *shape_of(index)[1:]), math.prod(sizes)
    if bool((torch.zeros(1, *sizes).scatter_add(axis, places, torch.ones(places.shape)) > 1).any()):
        return None
    if src is None:
        return aten.where.ScalarSelf(constant(x, torch.zeros(1, *sizes).scatter(axis, places, 1.0) > 0), number, x)
    behind, *given = shape_of(src)
    if not same_shape([behind], [batch]):
        return None
    numbered = count + torch.arange(math.prod(given)).reshape(1, *given)[tuple(slice(size) for size in places.shape)]
    order = torch.arange(count).reshape(1, *sizes).scatter(axis, places, numbered)
    both = [reshaped(each, (batch, math.prod(shape_of(each)[1:]))) for each in (x, src)]
    taken = picked(concatenated(both, 1), 1, order.flatten().tolist())
    return None if taken is None else reshaped(taken, (batch, *sizes))


@decomposes("index_put")
def _index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    shape = shape_of(input)
    found = _places(indices, shape)
    if found is None:
        return None
    first, last, places = found
    merged = reshaped(input, (*shape[:first], math.prod(shape[first:last]), *shape[last:]))
    value = _spread(values, (*shape[:first], *places.shape, *shape[last:]))
    if value is None:
        return None
    value = reshaped(value, (*shape_of(value)[:first], places.numel(), *shape[last:]))
    written = _written(merged, first, places.flatten().tolist(), value, accumulate)
    return None if written is None else reshaped(written, shape)


@decomposes("index_fill")
def _index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    filled = value if isinstance(value, fx.Proxy) else constant(input, torch.tensor(float(value)))
    return _index_put(input, [*[None] * axis_of(input, dim), index], filled)


@decomposes("index_copy")
def _index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    return _index_put(input, [*[None] * axis_of(input, dim), index], source)


@decomposes("index_add")
def _index_add(input: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    source = source if alpha == 1 else aten.mul.Tensor(source, alpha)
    return _index_put(input, [*[None] * axis_of(input, dim), index], source, True)


@decomposes("slice_scatter")
def _slice_scatter(input: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    axis, shape = axis_of(input, dim), shape_of(input)
    if axis == 0 or not isinstance(shape[axis], int):
        return None
    places = range(*slice(start, end, step).indices(shape[axis]))
    value = _spread(src, (*shape[:axis], len(places), *shape[axis + 1 :]))
    return None if value is None else _written(input, axis, list(places), value)


@decomposes("select_scatter")
def _select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    axis, shape = axis_of(input, dim), shape_of(input)
    if axis == 0 or not isinstance(shape[axis], int):
        return None
    value = _spread(src, (*shape[:axis], *shape[axis + 1 :]))
    return None if value is None else _written(input, axis, [index % shape[axis]], aten.unsqueeze.default(value, axis))


@decomposes("diagonal")
def _diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Every so many elements of two axes that are merged, moved last."""
    shape, axes = shape_of(input), (axis_of(input, dim1), axis_of(input, dim2))
    found = _diagonal_places(shape, axes, offset)
    if found is None:
        return None
    others, places = found
    moved = permuted(input, [*others, *axes])
    front = [shape[axis] for axis in others]
    return picked(reshaped(moved, (*front, math.prod(shape[axis] for axis in axes))), len(others), places)


def _diagonal_places(shape: Sequence[Any], axes: tuple[int, int], offset: int) -> tuple[list[int], list[int]] | None:
    if 0 in axes or not all(isinstance(shape[axis], int) for axis in axes):
        return None
    rows, columns = (shape[axis] for axis in axes)
    places = [i * columns + i + offset for i in range(rows) if 0 <= i + offset < columns]
    return [axis for axis in range(len(shape)) if axis not in axes], places


@decomposes("diagonal_scatter")
def _diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    shape, axes = shape_of(input), (axis_of(input, dim1), axis_of(input, dim2))
    found = _diagonal_places(shape, axes, offset)
    if found is None:
        return None
    others, places = found
    front, order = [shape[axis] for axis in others], [*others, *axes]
    value = _spread(src, (*front, len(places)))
    merged = reshaped(permuted(input, order), (*front, math.prod(shape[axis] for axis in axes)))
    written = None if value is None else _written(merged, len(others), places, value)
    if written is None:
        return None
    return permuted(reshaped(written, [shape[axis] for axis in order]), [order.index(i) for i in range(len(order))])


#: Calls that repeat what they are given, which is told anew of what is put somewhere.
_SPREADING = (aten.expand.default, aten.expand_as.default)


def _spread(value: Any, wanted: Sequence[Any]) -> Any:
    """A value in the shape that it is broadcast to; one sample of what is the same for every sample."""
    while value.node.target in _SPREADING and is_constant(fx.Proxy(value.node.args[0], value.tracer)):
        value = fx.Proxy(value.node.args[0], value.tracer)
    shape = [1] * (len(wanted) - len(shape_of(value))) + list(shape_of(value))
    if is_one(shape[0]):
        value = reshaped(value, shape)
        return value if shape[1:] == list(wanted[1:]) else aten.expand.default(value, [1, *wanted[1:]])
    if same_shape(shape, wanted):
        return value
    sizes = [-1 if i == 0 or size == given else size for i, (size, given) in enumerate(zip(wanted, shape, strict=True))]
    return aten.expand.default(value, sizes) if same_shape(shape[:1], wanted[:1]) else None


def _written(x: Any, axis: int, places: list[int], value: Any, add: bool = False) -> Any:
    """``x`` with ``value``, of any batch or of one sample, at places along an axis; None where they are too many."""
    if not places:
        return x
    if len(set(places)) < len(places):
        return _added_up(x, axis, places, value) if add else None
    if add:
        there = picked(x, axis, places)
        if there is None:
            return None
        value = aten.add.Tensor(there, value)
    size, runs = shape_of(x)[axis], even_runs(places)
    if len(runs) == 1 and runs[0].step > 1 and len(places) > 2:
        return _written_evenly(x, axis, runs[0], value)
    parts, kept = _pieces(places, size)
    if len(parts) > MOST_PIECES:
        return None
    if not kept and not same_shape(shape_of(value)[:1], shape_of(x)[:1]):
        # Then there is nothing left that an input has a part in.
        return None
    return concatenated(
        [_for_all(sliced(value, axis, *part), x) if put else sliced(x, axis, *part) for put, *part in parts], axis
    )


def _added_up(x: Any, axis: int, places: list[int], value: Any) -> Any:
    """``x`` and a product with ones: what goes to the same place is one sum, which rounds once."""
    size, rank = shape_of(x)[axis], len(shape_of(x))
    if size * len(places) > _MOST_ADDED_UP:
        return None
    order = [i for i in range(rank) if i != axis] + [axis]
    ones = torch.nn.functional.one_hot(torch.tensor(places), size).T.float().contiguous()
    sums = aten.linear.default(permuted(value, order), constant(x, ones))
    return aten.add.Tensor(x, permuted(sums, [order.index(i) for i in range(rank)]))


def _pieces(places: list[int], size: int) -> tuple[list[list[int]], bool]:
    """What a result is made of: whether of the value, first and behind the last; and whether anything is kept."""
    found, parts = {place: i for i, place in enumerate(places)}, list[list[int]]()
    for place in range(size):
        put, at = (1, found[place]) if place in found else (0, place)
        if parts and parts[-1][0] == put and parts[-1][2] == at:
            parts[-1][2] = at + 1
        else:
            parts.append([put, at, at + 1])
    return parts, len(places) < size


def _written_evenly(x: Any, axis: int, places: range, value: Any) -> Any:
    """What is put in and what lies behind it, side by side on an axis of their own, which is merged then."""
    shape, step, start = shape_of(x), places.step, places.start
    blocks = len(places) - (start + len(places) * step > shape[axis])
    end = start + blocks * step
    apart = reshaped(sliced(x, axis, start, end), (*shape[:axis], blocks, step, *shape[axis + 1 :]))
    kept = sliced(apart, axis + 1, 1, step)
    put = _for_all(aten.unsqueeze.default(sliced(value, axis, 0, blocks), axis + 1), x)
    parts = [reshaped(concatenated([put, kept], axis + 1), (*shape[:axis], blocks * step, *shape[axis + 1 :]))]
    if start:
        parts.insert(0, sliced(x, axis, 0, start))
    if blocks < len(places):
        parts.append(_for_all(sliced(value, axis, blocks, blocks + 1), x))
        end += 1
    if end < shape[axis]:
        parts.append(sliced(x, axis, end, shape[axis]))
    return concatenated(parts, axis)


def _for_all(value: Any, x: Any) -> Any:
    """A value for every sample of ``x``."""
    if same_shape(shape_of(value)[:1], shape_of(x)[:1]):
        return value
    return aten.expand.default(value, [aten.sym_size.int(x, 0), *[-1] * (len(shape_of(value)) - 1)])


@decomposes("tril")
def _tril(input: Any, diagonal: int = 0) -> Any:
    return _masked(input, torch.tril, diagonal)


@decomposes("triu")
def _triu(input: Any, diagonal: int = 0) -> Any:
    return _masked(input, torch.triu, diagonal)


def _masked(x: Any, kept: Any, diagonal: int) -> Any:
    """Times ones and zeros."""
    sizes = shape_of(x)[-2:]
    if len(shape_of(x)) < 3 or not all(isinstance(size, int) for size in sizes):
        return None
    mask = kept(torch.ones(sizes), diagonal).reshape(*[1] * (len(shape_of(x)) - 2), *sizes)
    return aten.mul.Tensor(x, constant(x, mask))
