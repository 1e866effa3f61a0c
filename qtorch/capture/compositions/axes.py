"""Axes in another order, tensors side by side, and parts of them: permutes, reshapes, concatenations and slices."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import torch

from qtorch.capture.compositions.known_values import known_value
from qtorch.capture.compositions.picked_elements import picked
from qtorch.capture.compositions.table import (
    MOST_SLICED_AXES,
    axis_of,
    broadcast_shape,
    concatenated,
    decomposes,
    is_one,
    permuted,
    reshaped,
    result_shape,
    same_shape,
    shape_of,
    sliced,
)

aten = torch.ops.aten


@decomposes("t", "numpy_T")
def _reversed_axes(input: Any) -> Any:
    return permuted(input, range(len(shape_of(input)))[::-1])


@decomposes("mT", "mH", "matrix_H", "adjoint")
def _last_two(input: Any) -> Any:
    return _transpose(input, -2, -1)


@decomposes("transpose")
def _transpose(input: Any, dim0: int, dim1: int) -> Any:
    axes, one, other = list(range(len(shape_of(input)))), axis_of(input, dim0), axis_of(input, dim1)
    if axes:
        axes[one], axes[other] = axes[other], axes[one]
    return permuted(input, axes)


@decomposes("movedim")
def _movedim(input: Any, source: Any, destination: Any) -> Any:
    sources = [axis_of(input, d) for d in ([source] if isinstance(source, int) else source)]
    targets = [axis_of(input, d) for d in ([destination] if isinstance(destination, int) else destination)]
    rest = iter(axis for axis in range(len(shape_of(input))) if axis not in sources)
    moved = dict(zip(targets, sources, strict=True))
    return permuted(input, [moved[i] if i in moved else next(rest) for i in range(len(shape_of(input)))])


@decomposes("stack")
def _stack(tensors: Any, dim: int = 0) -> Any:
    axis = axis_of(tensors[0], dim, more=1)
    return concatenated([aten.unsqueeze.default(x, axis) for x in tensors], axis)


@decomposes("cat")
def _cat(tensors: Any, dim: int = 0) -> Any:
    """Of one tensor nothing, of many several steps; those without elements are left out."""
    full = [x for x in tensors if not any(isinstance(size, int) and not size for size in shape_of(x))] or tensors[:1]
    parts = concatenated(full, axis_of(full[0], dim))
    return parts if len(full) == 1 or len(parts.node.args[0]) < len(tensors) else None


@decomposes("hstack")
def _hstack(tensors: Any) -> Any:
    return concatenated(tensors, 1) if all(len(shape_of(x)) > 1 for x in tensors) else None


@decomposes("dstack")
def _dstack(tensors: Any) -> Any:
    return concatenated(tensors, 2) if all(len(shape_of(x)) > 2 for x in tensors) else None


@decomposes("unbind")
def _unbind(input: Any, dim: int = 0) -> Any:
    axis = axis_of(input, dim)
    size = shape_of(input)[axis]
    return tuple(aten.select.int(input, axis, i) for i in range(size)) if isinstance(size, int) else None


@decomposes("select")
def _select(input: Any, dim: int, index: Any) -> Any:
    """A box, of tensors of which no slice is taken; of still more axes those on either side as one."""
    shape, axis = shape_of(input), axis_of(input, dim)
    if len(shape) <= MOST_SLICED_AXES or not axis or not isinstance(index, int) or not isinstance(shape[axis], int):
        return None
    start = index % shape[axis]
    if len(shape) > MOST_SLICED_AXES + 1:
        before, behind = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
        part = sliced(reshaped(input, (shape[0], before, shape[axis], behind)), 2, start, start + 1)
    else:
        part = sliced(input, axis, start, start + 1)
    return reshaped(part, shape[:axis] + shape[axis + 1 :])


def _parts(x: Any, axis: int, sizes: list[int]) -> Any:
    """Parts of these sizes; None where they are equal, which SPLIT does."""
    ends = list(accumulate(sizes))
    return tuple(sliced(x, axis, end - size, end) for end, size in zip(ends, sizes, strict=True))


def _split_sizes(whole: int, size: int) -> list[int]:
    return [min(size, whole - at) for at in range(0, whole, size)]


@decomposes("split", "unsafe_split")
def _split(input: Any, split_size: Any, dim: int = 0) -> Any:
    axis = axis_of(input, dim)
    whole = shape_of(input)[axis]
    if not isinstance(whole, int) or not isinstance(split_size, int):
        return None if not isinstance(split_size, list | tuple) else _split_with_sizes(input, split_size, dim)
    return None if split_size and whole % split_size == 0 else _parts(input, axis, _split_sizes(whole, split_size))


@decomposes("split_with_sizes", "unsafe_split_with_sizes")
def _split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> Any:
    axis, sizes = axis_of(input, dim), list(split_sizes)
    if not all(isinstance(size, int) for size in [*sizes, shape_of(input)[axis]]):
        return None
    return _parts(input, axis, sizes)


@decomposes("chunk", "unsafe_chunk")
def _chunk(input: Any, chunks: int, dim: int = 0) -> Any:
    axis = axis_of(input, dim)
    whole = shape_of(input)[axis]
    if not isinstance(whole, int) or whole % chunks == 0:
        return None
    return _parts(input, axis, _split_sizes(whole, -(-whole // chunks)))


@decomposes("tensor_split")
def _tensor_split(input: Any, sections: Any = None, indices: Any = None, dim: int = 0) -> Any:
    axis = axis_of(input, dim)
    whole = shape_of(input)[axis]
    if not isinstance(whole, int):
        return None
    if indices is None:
        return _parts(input, axis, [whole // sections + (i < whole % sections) for i in range(sections)])
    ends = [*indices, whole]
    if not all(isinstance(end, int) and 0 <= end <= whole for end in ends) or ends != sorted(ends):
        return None
    return _parts(input, axis, [end - start for start, end in zip([0, *ends], ends, strict=False)])


@decomposes("narrow")
def _narrow(input: Any, dim: int, start: Any, length: Any) -> Any:
    axis = axis_of(input, dim)
    whole = shape_of(input)[axis]
    if len(shape_of(input)) > MOST_SLICED_AXES or not all(isinstance(value, int) for value in (whole, start, length)):
        return None
    first = start % whole if start < 0 else start
    return sliced(input, axis, first, first + length)


@decomposes("slice")
def _slice(input: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """A box, of tensors of which no slice is taken."""
    shape = shape_of(input)
    axis = axis_of(input, dim)
    ends = [value for value in (shape[axis], start, end) if value is not None]
    if len(shape) <= MOST_SLICED_AXES or step != 1 or not all(isinstance(each, int) for each in ends):
        return None
    first, last, _ = slice(start, end).indices(shape[axis])
    return sliced(input, axis, first, last) if last > first else None


@decomposes("repeat")
def _repeat(input: Any, repeats: Any) -> Any:
    """Copies along each axis; where all have size 1, an expansion, which readers may not need."""
    more = len(repeats) - len(shape_of(input))
    shape = (1,) * more + shape_of(input)
    if any(isinstance(count, int) and count < 1 for count in repeats):
        return None
    if not all(isinstance(count, int) for count in repeats):
        # For every sample.
        alike = all(
            count == 1 if isinstance(count, int) else is_one(size) for count, size in zip(repeats, shape, strict=True)
        )
        sizes = [-1 if isinstance(count, int) and i >= more else count for i, count in enumerate(repeats)]
        return aten.expand.default(input, sizes) if alike else None
    if any(count > 1 and not isinstance(size, int) for count, size in zip(repeats, shape, strict=True)):
        return None
    if all(size == 1 for count, size in zip(repeats, shape, strict=True) if count > 1):
        return aten.expand.default(input, [n if n > 1 or i < more else -1 for i, n in enumerate(repeats)])
    x = reshaped(input, shape)
    for axis, count in enumerate(repeats):
        x = concatenated([x] * count, axis)
    return x


@decomposes("tile")
def _tile(input: Any, dims: Any) -> Any:
    return aten.repeat.default(input, [1] * (len(shape_of(input)) - len(dims)) + list(dims))


@decomposes("repeat_interleave")
def _repeat_interleave(input: Any, repeats: Any, dim: int | None = None) -> Any:
    """A new axis behind the repeated one, expanded and merged with it."""
    if dim is None or not isinstance(shape_of(input)[axis_of(input, dim)], int):
        return None
    axis = axis_of(input, dim)
    counts = None if isinstance(repeats, int) else known_value(repeats)
    if counts is not None and counts.numel() > 1:
        return picked(input, axis, torch.repeat_interleave(counts).tolist())
    if not isinstance(repeats, int):
        return None
    copies = [aten.unsqueeze.default(input, axis + 1)] * repeats
    return reshaped(concatenated(copies, axis + 1), result_shape(input))


@decomposes("fliplr")
def _fliplr(input: Any) -> Any:
    return aten.flip.default(input, [1])


@decomposes("flip")
def _flip(input: Any, dims: Any) -> Any:
    """One axis after the other, where they do not follow one another."""
    axes = sorted({axis_of(input, dim) for dim in dims})
    if axes[-1] - axes[0] + 1 == len(axes):
        return None
    x = input
    for axis in axes:
        x = aten.flip.default(x, [axis])
    return x


@decomposes("roll")
def _roll(input: Any, shifts: Any, dims: Any = ()) -> Any:
    """The end before the beginning."""
    if not dims:
        return None
    x = input
    shifts = [shifts] * len(dims) if isinstance(shifts, int) else shifts
    for shift, dim in zip(shifts, dims, strict=True):
        axis = axis_of(input, dim)
        size = shape_of(input)[axis]
        if not isinstance(size, int) or not isinstance(shift, int):
            return None
        if shift % size:
            cut = size - shift % size
            x = concatenated([sliced(x, axis, cut, size), sliced(x, axis, 0, cut)], axis)
    return x


@decomposes("broadcast_tensors")
def _broadcast_tensors(tensors: Any) -> Any:
    wanted = broadcast_shape([shape_of(each) for each in tensors])
    sizes = [_grown(shape_of(each), wanted) for each in tensors]
    if not all(isinstance(size, int) for each in sizes for size in each):
        return None
    return tuple(
        each if same_shape(shape_of(each), wanted) else aten.expand.default(each, size)
        for each, size in zip(tensors, sizes, strict=True)
    )


def _grown(given: Any, wanted: Any) -> list[Any]:
    """What ``expand`` is told of each axis: -1 where the size stays."""
    missing = len(wanted) - len(given)
    kept = [axis >= missing and same_shape((given[axis - missing],), (size,)) for axis, size in enumerate(wanted)]
    return [-1 if stays else size for stays, size in zip(kept, wanted, strict=True)]


@decomposes("reshape_as")
def _reshape_as(input: Any, other: Any) -> Any:
    return reshaped(input, shape_of(other))


@decomposes("ravel")
def _ravel(input: Any) -> Any:
    return aten.reshape.default(input, [-1])


@decomposes("atleast_1d", "atleast_2d", "atleast_3d")
def _atleast(input: Any) -> Any:
    return reshaped(input, result_shape(input))


@decomposes("rot90")
def _rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    first, second = (axis_of(input, dim) for dim in dims)
    order = list(range(len(shape_of(input))))
    order[first], order[second] = second, first
    turns = {
        0: lambda: input,
        1: lambda: permuted(aten.flip.default(input, [second]), order),
        2: lambda: aten.flip.default(input, [first, second]),
        3: lambda: aten.flip.default(permuted(input, order), [second]),
    }
    return turns[k % 4]() if k % 4 else None


@decomposes("diff")
def _diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    axis, x = axis_of(input, dim), input
    given = [each for each in (prepend, input, append) if each is not None]
    if axis == 0 or not all(isinstance(shape_of(each)[axis], int) for each in given):
        return None
    x = concatenated(given, axis)
    for _ in range(n):
        size = shape_of(x)[axis]
        x = aten.sub.Tensor(sliced(x, axis, 1, size), sliced(x, axis, 0, size - 1))
    return x if n else None
