"""Windows as an axis of their own, and added up again: ``unfold``, ``F.unfold`` and ``F.fold``."""

from __future__ import annotations

import math
from typing import Any

import torch

from qtorch.capture.compositions.picked_elements import MOST_PIECES, every
from qtorch.capture.compositions.table import (
    axis_of,
    concatenated,
    constant,
    decomposes,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    sliced,
)

aten = torch.ops.aten


@decomposes("unfold")
def _unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Windows side by side are a reshape; others are put together of the blocks that each begins and ends with.

    A block is as long as steps and windows have in common, so that each window has a slice for every block in it.
    """
    shape, axis = shape_of(input), axis_of(input, dimension)
    if not shape or not isinstance(shape[axis], int) or axis == 0:
        return None
    count, last = (shape[axis] - size) // step + 1, len(shape)
    block = math.gcd(size, step)
    if size // block > MOST_PIECES:
        return None
    if block == 1:
        x = aten.unsqueeze.default(input, last)
    else:
        length = (count - 1) * step + size
        apart = (*shape[:axis], length // block, block, *shape[axis + 1 :])
        x = reshaped(sliced(input, axis, 0, length), apart)
        x = permuted(x, [i for i in range(last + 1) if i != axis + 1] + [axis + 1])
    stride = step // block
    starts = range(size // block)
    slices = [every(x, axis, range(at, at + (count - 1) * stride + 1, stride)) for at in starts]
    return concatenated(slices, last)


@decomposes("im2col")
def _im2col(input: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """``[N, C, H, W]`` to ``[N, C * h * w, L]``: a slice for each place in a window; of patches, a reshape."""
    patches = list(stride) == list(kernel_size) and list(dilation) == [1, 1]
    if len(shape_of(input)) != 4 or (math.prod(kernel_size) > MOST_PIECES and not patches):
        return None
    (down, across), (above, left) = kernel_size, padding
    x = aten.pad.default(input, [left, left, above, above]) if above or left else input
    batch, channels, *image = shape_of(x)
    rows, columns = (
        (n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(image, dilation, kernel_size, stride, strict=True)
    )
    result = (batch, channels * down * across, rows * columns)
    if patches:
        x = sliced(sliced(x, 2, 0, rows * down), 3, 0, columns * across)
        x = permuted(reshaped(x, (batch, channels, rows * down, columns, across)), [0, 1, 4, 2, 3])
        x = permuted(reshaped(x, (batch, channels * across, rows, down, columns)), [0, 1, 3, 2, 4])
        x = reshaped(x, (batch, channels, across, down, rows * columns))
        return reshaped(permuted(x, [0, 1, 3, 2, 4]), result)
    parts = []
    for at in range(0, down * dilation[0], dilation[0]):
        band = every(x, 2, range(at, at + (rows - 1) * stride[0] + 1, stride[0]))
        for behind in range(0, across * dilation[1], dilation[1]):
            part = every(band, 3, range(behind, behind + (columns - 1) * stride[1] + 1, stride[1]))
            parts.append(reshaped(part, (batch, channels, 1, rows * columns)))
    return reshaped(concatenated(parts, 2), result)


def _from(x: Any, axis: int, start: int, size: int) -> Any:
    """So much of an image from a place on, zeros behind its end."""
    end = min(start + size, shape_of(x)[axis])
    part, zeros = sliced(x, axis, start, end), start + size - end
    return aten.pad.default(part, [0, zeros] if axis == 3 else [0, 0, 0, zeros]) if zeros else part


@decomposes("col2im")
def _col2im(input: Any, output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """A transposed convolution that puts each place of a window where it belongs: what overlaps is one sum."""
    if len(shape_of(input)) != 3:
        return None
    batch, channels, *image = result_shape(input)
    window = math.prod(kernel_size)
    sizes = list(zip(output_size, kernel_size, dilation, padding, stride, strict=True))
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in sizes]
    if list(stride) == list(kernel_size) and list(dilation) == [1, 1]:
        (down, across), (rows, columns), (height, width) = kernel_size, counts, image
        x = permuted(reshaped(input, (batch, channels, down, across, rows * columns)), [0, 1, 3, 2, 4])
        x = permuted(reshaped(x, (batch, channels * across, down, rows, columns)), [0, 1, 3, 2, 4])
        x = permuted(reshaped(x, (batch, channels, across, rows * down, columns)), [0, 1, 3, 4, 2])
        x = reshaped(x, (batch, channels, rows * down, columns * across))
        for axis, size, cut in ((2, height, padding[0]), (3, width, padding[1])):
            x = _from(x, axis, cut, size)
        return x
    more = [n - ((c - 1) * s - 2 * p + d * (k - 1) + 1) for c, (n, k, d, p, s) in zip(counts, sizes, strict=True)]
    places = torch.eye(window).reshape(window, 1, *kernel_size).repeat(channels, 1, 1, 1)
    x = reshaped(input, (batch, channels * window, *counts))
    return aten.conv_transpose2d.input(
        x, constant(input, places), None, list(stride), list(padding), more, channels, list(dilation)
    )
