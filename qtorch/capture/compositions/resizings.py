"""Resizings that no kernel has: by any factor, cubic, smoothed, of one and three axes, and at places that are constant.

Each element of the result is a sum of elements along an axis, whose weights PyTorch itself tells: it is asked to
resize unit vectors. With them a resizing is a convolution of an image of one channel, which is rounded once along each
axis, or once in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from qtorch.capture.compositions.known_values import known_value, same_for_all
from qtorch.capture.compositions.picked_elements import picked
from qtorch.capture.compositions.table import (
    constant,
    decomposes,
    permuted,
    reshaped,
    result_shape,
    shape_of,
)
from qtorch.capture.compositions.volumes import in_two, is_volume
from qtorch.ops.resize_nearest_neighbor import indices

aten = torch.ops.aten

#: Weights of both axes at once up to which a resizing is one sum.
_FEW_WEIGHTS = 2**12
#: Weights that a network may have to be sampled at constant places.
_MOST_WEIGHTS = 2**18


def _as_image(x: Any, size: Any, factors: Any) -> tuple[Any, Any, Any]:
    return aten.unsqueeze.default(x, 2), size and [1, *size], factors and [1.0, *factors]


@decomposes("upsample_linear1d")
def _upsample_linear1d(input: Any, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
    image, size, factors = _as_image(input, output_size, scale_factors)
    return aten.squeeze.dim(aten.upsample_bilinear2d.vec(image, size, align_corners, factors), 2)


@decomposes("upsample_nearest1d")
def _upsample_nearest1d(input: Any, output_size: Any, scale_factors: Any = None) -> Any:
    image, size, factors = _as_image(input, output_size, scale_factors)
    return aten.squeeze.dim(aten.upsample_nearest2d.vec(image, size, factors), 2)


@decomposes("_upsample_nearest_exact1d")
def _upsample_nearest_exact1d(input: Any, output_size: Any, scale_factors: Any = None) -> Any:
    image, size, factors = _as_image(input, output_size, scale_factors)
    return aten.squeeze.dim(aten._upsample_nearest_exact2d.vec(image, size, factors), 2)


@decomposes("upsample_bilinear2d")
def _upsample_bilinear2d(input: Any, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
    """By factors that make no whole numbers: PyTorch's steps are not those of the sizes then. Others are a row's."""
    if scale_factors is None or len(shape_of(input)) != 4:
        return None
    sizes = zip(shape_of(input)[2:], result_shape(input)[2:], scale_factors, strict=True)
    if all(n * factor == result for n, result, factor in sizes):
        return None
    if align_corners:
        # Then the sizes alone say all.
        return aten.upsample_bilinear2d.vec(input, list(result_shape(input)[2:]), True, None)
    return _resized(input, aten.upsample_bilinear2d.vec, align_corners, scale_factors)


@decomposes("upsample_bicubic2d")
def _upsample_bicubic2d(input: Any, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
    return _resized(input, aten.upsample_bicubic2d.vec, align_corners, scale_factors)


@decomposes("_upsample_bilinear2d_aa")
def _upsample_bilinear2d_aa(input: Any, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
    return _resized(input, aten._upsample_bilinear2d_aa.vec, align_corners, scale_factors)


@decomposes("_upsample_bicubic2d_aa")
def _upsample_bicubic2d_aa(input: Any, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
    return _resized(input, aten._upsample_bicubic2d_aa.vec, align_corners, scale_factors)


def _resized(x: Any, resize: Callable[..., Tensor], align_corners: bool, factors: Any) -> Any:
    """By the weights that an operator has along each axis."""
    shape = shape_of(x)
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]):
        return None
    matrices = []
    for axis in (0, 1):
        before, after = shape[2 + axis], result_shape(x)[2 + axis]
        # A sample each, of two columns: PyTorch's smoothing kernels take columns of one element for channels.
        units = torch.eye(before)[:, None, :, None].repeat(1, 1, 1, 2)
        size, factor = ([after, 2], None) if factors is None else (None, [factors[axis], 1.0])
        matrices.append(resize(units, size, align_corners, factor)[:, 0, :, 0].T)
    return resampled(x, *matrices)


def resampled(x: Any, rows: Tensor, columns: Tensor) -> Any:
    """An image ``[N, C, H, W]`` multiplied by a matrix along its rows and one along its columns, ``[result, size]``."""
    batch, channels, height, width = shape_of(x)
    (down, _), (across, _) = rows.shape, columns.shape
    if rows.numel() * columns.numel() <= _FEW_WEIGHTS:
        kernel = torch.einsum("ai,bj->abij", rows, columns).reshape(down * across, 1, height, width)
        return _summed(x, kernel, (down, across))
    image = reshaped(permuted(x, [0, 2, 3, 1]), (batch, 1, height, width * channels))
    y = aten.conv2d.default(image, constant(x, rows.reshape(down, 1, height, 1).contiguous()))
    # A column is an image's row now, and the rows of the result are side by side.
    image = reshaped(permuted(y, [0, 2, 3, 1]), (batch, 1, width, channels * down))
    y = aten.conv2d.default(image, constant(x, columns.reshape(across, 1, width, 1).contiguous()))
    return reshaped(permuted(y, [0, 2, 3, 1]), (batch, channels, down, across))


def _summed(x: Any, kernel: Tensor, size: tuple[int, int]) -> Any:
    """An image with every element of a result a sum over all of it, of each channel by itself.

    Args:
        x: ``[N, C, H, W]``.
        kernel: ``[h * w, 1, H, W]``.
        size: of the result, ``(h, w)``.
    """
    batch, channels, height, width = shape_of(x)
    image = reshaped(permuted(x, [0, 2, 3, 1]), (batch, 1, height, width * channels))
    y = aten.conv2d.default(image, constant(x, kernel.contiguous()), None, [1, 1], [0, 0], [1, channels])
    return reshaped(permuted(y, [0, 2, 3, 1]), (batch, channels, *size))


@decomposes("upsample_nearest2d")
def _upsample_nearest2d(input: Any, output_size: Any, scale_factors: Any = None) -> Any:
    return _nearest(input, aten.upsample_nearest2d.vec, scale_factors)


@decomposes("_upsample_nearest_exact2d")
def _upsample_nearest_exact2d(input: Any, output_size: Any, scale_factors: Any = None) -> Any:
    return _nearest(input, aten._upsample_nearest_exact2d.vec, scale_factors)


def _nearest(x: Any, resize: Callable[..., Tensor], factors: Any) -> Any:
    """At sizes at which TensorFlow Lite picks others: slices side by side."""
    shape, result = shape_of(x), result_shape(x)
    if len(shape) != 4:
        return None
    places = [_nearest_places(resize, shape[i], result[i], factors and factors[i - 2]) for i in (2, 3)]
    if any(_kernel_places(shape, result, half_pixel_centers=half) == places for half in (False, True)):
        return None
    rows = picked(x, 2, places[0])
    return None if rows is None else picked(rows, 3, places[1])


def _kernel_places(shape: Sequence[int], result: Sequence[int], *, half_pixel_centers: bool) -> list[list[int]]:
    """What the row's kernel picks along rows and columns."""
    sizes = zip(shape[2:], result[2:], strict=True)
    flags = {"align_corners": False, "half_pixel_centers": half_pixel_centers}
    return [indices(before, after, **flags).tolist() for before, after in sizes]


def _nearest_places(resize: Callable[..., Tensor], before: int, after: int, factor: float | None) -> list[int]:
    line = torch.arange(before, dtype=torch.float32).reshape(1, 1, before, 1)
    size, factors = ([after, 1], None) if factor is None else (None, [factor, 1.0])
    return [int(place) for place in resize(line, size, factors).flatten()]


@decomposes("upsample_nearest3d")
def _upsample_nearest3d(input: Any, output_size: Any, scale_factors: Any = None) -> Any:
    return _volume(input, scale_factors, aten.upsample_nearest2d.vec)


@decomposes("_upsample_nearest_exact3d")
def _upsample_nearest_exact3d(input: Any, output_size: Any, scale_factors: Any = None) -> Any:
    return _volume(input, scale_factors, aten._upsample_nearest_exact2d.vec)


@decomposes("upsample_trilinear3d")
def _upsample_trilinear3d(input: Any, output_size: Any, align_corners: bool, scale_factors: Any = None) -> Any:
    return _volume(input, scale_factors, aten.upsample_bilinear2d.vec, align_corners)


def _volume(x: Any, factors: Any, resize: Any, *alignment: bool) -> Any:
    """The slices as images, and then the slices."""
    if not is_volume(x):
        return None
    before, after = shape_of(x)[2:], result_shape(x)[2:]

    def of_slices(y: Any) -> Any:
        return resize(y, None if factors else list(after[1:]), *alignment, factors and list(factors[1:]))

    def across(y: Any) -> Any:
        rows = shape_of(y)[2]
        return resize(y, None if factors else [rows, after[0]], *alignment, factors and [1.0, factors[0]])

    stays = before[0] == after[0] and not (factors and factors[0] != 1)
    return in_two(x, of_slices, None if stays else across)


@decomposes("grid_sampler", "grid_sampler_2d")
def _grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:
    """At places that are the same for every sample, and that nothing trains: one sum for each of them."""
    shape, value = shape_of(input), known_value(same_for_all(grid))
    if value is None or len(shape) != 4 or value.shape[0] != 1 or not all(isinstance(n, int) for n in shape[1:]):
        return None
    _, down, across, _ = value.shape
    height, width = shape[2:]
    if down * across * height * width > _MOST_WEIGHTS:
        return None
    units = torch.eye(height * width).reshape(1, height * width, height, width)
    weights = torch.grid_sampler(units, value, interpolation_mode, padding_mode, align_corners)
    kernel = weights[0].flatten(1).T.reshape(down * across, 1, height, width)
    return _summed(input, kernel, (down, across))
