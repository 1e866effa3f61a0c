"""Poolings whose windows no row has: of several sizes, of other divisors, with holes, of three axes.

A window is the same along an axis wherever it lies along the other, so a pooling is told by the windows along each
axis. Those of one size that are evenly spaced are one pooling of a part of the image: its borders, and its inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from qtorch.capture.compositions.picked_elements import MOST_PIECES, picked
from qtorch.capture.compositions.table import concatenated, decomposes, result_shape, shape_of, sliced, writer_of
from qtorch.families.windows import padding_name

aten = torch.ops.aten

#: Windows along an axis, ``(start, end)`` each, in the image that they lie on.
Windows = Sequence[tuple[int, int]]


def _adaptive(size: int, count: int) -> Windows:
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _runs(windows: Windows) -> list[tuple[Windows, int]]:
    """Consecutive windows of one size at one distance, with that distance."""
    runs: list[list[tuple[int, int]]] = []
    for start, end in windows:
        last = runs[-1] if runs else []
        even = len(last) < 2 or start - last[-1][0] == last[1][0] - last[0][0]
        if last and even and start > last[-1][0] and end - start == last[0][1] - last[0][0]:
            last.append((start, end))
        else:
            runs.append([(start, end)])
    return [(run, run[1][0] - run[0][0] if len(run) > 1 else run[0][1] - run[0][0]) for run in runs]


def _pooled(x: Any, rows: Windows, columns: Windows, pool: Callable[..., Any]) -> Any:
    """An image ``[N, C, H, W]`` pooled by windows along its last two axes."""
    parts = []
    for down, step_down in _runs(rows):
        band = sliced(x, 2, down[0][0], down[-1][1])
        beside = []
        for across, step_across in _runs(columns):
            part = sliced(band, 3, across[0][0], across[-1][1])
            window = [down[0][1] - down[0][0], across[0][1] - across[0][0]]
            beside.append(
                part if window == [1, 1] == [step_down, step_across] else pool(part, window, [step_down, step_across])
            )
        parts.append(concatenated(beside, 3))
    return concatenated(parts, 2)


def _pieces(rows: Windows, columns: Windows) -> int:
    return len(_runs(rows)) * len(_runs(columns))


def _average(x: Any, rows: Windows, columns: Windows) -> Any:
    """Rounded once where that takes few pieces; else along one axis after the other."""
    if _pieces(rows, columns) <= _FEW_PIECES:
        return _pooled(x, rows, columns, aten.avg_pool2d.default)
    return _along_each(x, rows, columns, aten.avg_pool2d.default)


#: Poolings of parts of an image that are better than two of all of it.
_FEW_PIECES = 12


def _along_each(x: Any, rows: Windows, columns: Windows, pool: Callable[..., Any]) -> Any:
    if len(_runs(rows)) + len(_runs(columns)) > MOST_PIECES:
        return None
    _, _, height, width = shape_of(x)
    every_row, every_column = ([(i, i + 1) for i in range(size)] for size in (height, width))
    first = x if list(rows) == every_row else _pooled(x, rows, every_column, pool)
    every_row = [(i, i + 1) for i in range(len(rows))]
    return first if list(columns) == every_column else _pooled(first, every_row, columns, pool)


def _image(x: Any) -> Any:
    """A sequence as an image of one row."""
    return aten.unsqueeze.default(x, 2) if len(shape_of(x)) == 3 else x


def _like(x: Any, result: Any) -> Any:
    return result if result is None or len(shape_of(x)) == 4 else aten.squeeze.dim(result, 2)


@decomposes("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(input: Any, output_size: Any) -> Any:
    """Windows of unequal sizes; those of one size are the row's."""
    windows = _adaptive_windows(input)
    return None if windows is None else _like(input, _average(_image(input), *windows))


@decomposes("adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_max_pool(input: Any, output_size: Any) -> Any:
    windows = _adaptive_windows(input)
    if windows is None:
        return None
    result = _like(input, _along_each(_image(input), *windows, aten.max_pool2d.default))
    return None if result is None else (result, None)


def _adaptive_windows(x: Any) -> tuple[Windows, Windows] | None:
    """Along rows and columns; None where a row has them, and where an image is no sample of a batch."""
    sizes, results = (_sizes(shape) for shape in (shape_of(x), result_shape(x)))
    if not 3 <= len(shape_of(x)) <= 4 or all(n % o == 0 for n, o in zip(sizes, results, strict=True)):
        return None
    rows, columns = (_adaptive(n, o) for n, o in zip(sizes, results, strict=True))
    return rows, columns


def _sizes(shape: Sequence[Any]) -> tuple[int, int]:
    return (1, shape[-1]) if len(shape) == 3 else (shape[-2], shape[-1])


@decomposes("avg_pool1d", "avg_pool2d")
def _avg_pool(
    input: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """Windows that reach beyond a border, and count no more than what lies inside of it."""
    shape, result = shape_of(input), result_shape(input)
    if not 3 <= len(shape) <= 4:
        return None
    sizes, results = _sizes(shape), _sizes(result)
    window = _Window(len(shape), kernel_size, stride or kernel_size, padding)
    if divisor_override is not None:
        return _like(input, _weighted(_image(input), window, results, 1 / divisor_override))
    whole = window.places(results)
    inside = _held(whole, [(0, n) for n in sizes])
    if not count_include_pad and inside != whole:
        if not ceil_mode and window.name(sizes) is not None:
            return None
        return _like(input, _average(_image(input), *inside))
    (above, left) = window.before
    counted = _held(whole, [(-p, n + p) for n, p in zip(sizes, window.before, strict=True)])
    if counted == whole and not (ceil_mode and any(window.before)):
        return None
    image = aten.pad.default(_image(input), [left, left, above, above]) if above or left else _image(input)
    rows, columns = (
        [(start + p, end + p) for start, end in windows] for windows, p in zip(counted, window.before, strict=True)
    )
    return _like(input, _average(image, rows, columns))


def _held(windows: Sequence[Windows], limits: Sequence[tuple[int, int]]) -> list[Windows]:
    """What lies inside of limits, along each axis."""
    return [
        [(max(start, low), min(end, high)) for start, end in along]
        for along, (low, high) in zip(windows, limits, strict=True)
    ]


class _Window:
    """A sliding window on an image, of a call's arguments; along the rows of a sequence it is nothing.

    Args:
        rank: of the call's tensor.
        kernel_size, stride, padding, dilation: the call's own.
    """

    def __init__(self, rank: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any = 1) -> None:
        self.kernel, self.stride, self.dilation = (_pair(each, rank, 1) for each in (kernel_size, stride, dilation))
        self.before = _pair(padding, rank, 0)

    def places(self, results: Sequence[int]) -> list[Windows]:
        """Where windows lie along each axis, outside of the image too."""
        return [
            [(i * s - p, i * s - p + k) for i in range(count)]
            for count, k, s, p in zip(results, self.kernel, self.stride, self.before, strict=True)
        ]

    def name(self, sizes: tuple[int, int]) -> str | None:
        """Of its padding on an image, where TFLite has one."""
        (above, left) = self.before
        return padding_name(((above, above), (left, left)), sizes, self.kernel, self.stride)


def _pair(given: Any, rank: int, one: int) -> tuple[int, int]:
    values = [given] if isinstance(given, int) else list(given)
    return (one if rank == 3 else values[0], values[-1])


def _weighted(x: Any, window: _Window, results: Sequence[int], weight: float) -> Any:
    """Sums of windows times a number, as a convolution of each channel with a constant: rounded once."""
    (_, channels, *sizes), (above, left) = shape_of(x), window.before
    ends = zip(results, sizes, window.kernel, window.stride, window.before, strict=True)
    below, right = (max(0, (o - 1) * s + k - n - p) for o, n, k, s, p in ends)
    if (below, right) != (above, left) and max(below, right, above, left) > 0:
        x, above, left = aten.pad.default(x, [left, max(right, left), above, max(below, above)]), 0, 0
    make = writer_of(x).create_proxy
    filled = make("call_function", aten.full.default, ([channels, 1, *window.kernel], weight), {})
    return aten.conv2d.default(x, filled, None, list(window.stride), [above, left], [1, 1], channels)


@decomposes("max_pool1d", "max_pool2d")
def _max_pool(
    input: Any, kernel_size: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil_mode: bool = False
) -> Any:
    """Of windows with holes: the largest of slices, one for each place in a window, along one axis after the other."""
    rank = len(shape_of(input))
    window = _Window(rank, kernel_size, stride or kernel_size, padding, dilation)
    if not 3 <= rank <= 4 or window.dilation == (1, 1):
        return None
    x, axes = _image(input), zip((2, 3), _sizes(result_shape(input)), strict=True)
    for (axis, count), k, s, p, d in zip(
        axes, window.kernel, window.stride, window.before, window.dilation, strict=True
    ):
        largest = _largest_of_taps(x, axis, [range(i * s - p, i * s - p + k * d, d) for i in range(count)])
        if largest is None:
            return None
        x = largest
    return _like(input, x)


def _largest_of_taps(x: Any, axis: int, windows: Sequence[range]) -> Any:
    """What a window has outside of the image is one of its own places inside, which changes no maximum."""
    size = shape_of(x)[axis]
    inside = [[place for place in window if 0 <= place < size] for window in windows]
    if not all(inside):
        return None
    result = None
    for tap in range(len(windows[0])):
        places = [min(max(each[tap], held[0]), held[-1]) for each, held in zip(windows, inside, strict=True)]
        part = picked(x, axis, places)
        if part is None:
            return None
        result = part if result is None else aten.maximum.default(result, part)
    return result
