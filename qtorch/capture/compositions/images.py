"""What moves or resizes the elements of images and of sequences: shuffles, mirrored borders, upsampling of one axis."""

from __future__ import annotations

import math
from typing import Any

import torch

from qtorch.capture.compositions.table import (
    axis_of,
    concatenated,
    constant,
    decomposes,
    permuted,
    reshaped,
    shape_of,
    sliced,
)

aten = torch.ops.aten

#: From here on a number is there to be no number.
_NO_NUMBER = 1e4


@decomposes("glu")
def _glu(input: Any, dim: int = -1) -> Any:
    axis = axis_of(input, dim)
    size = shape_of(input)[axis]
    if not isinstance(size, int):
        return None
    # Two slices rather than a split: a list has no node of its own to be an operand.
    value, gate = sliced(input, axis, 0, size // 2), sliced(input, axis, size // 2, size)
    return aten.mul.Tensor(value, aten.sigmoid.default(gate))


@decomposes("channel_shuffle")
def _channel_shuffle(input: Any, groups: int) -> Any:
    batch, channels, *image = shape_of(input)
    grouped = reshaped(input, (batch, groups, channels // groups, math.prod(image)))
    return reshaped(permuted(grouped, [0, 2, 1, 3]), shape_of(input))


@decomposes("pixel_shuffle")
def _pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """Two permutes of five axes, the columns' first, rather than one of six."""
    if len(shape_of(input)) != 4:
        return None
    (batch, channels, height, width), r = shape_of(input), upscale_factor
    columns = permuted(reshaped(input, (batch, channels // r, r, height, width)), [0, 1, 3, 4, 2])
    rows = permuted(reshaped(columns, (batch, channels // r**2, r, height, width * r)), [0, 1, 3, 2, 4])
    return reshaped(rows, (batch, channels // r**2, height * r, width * r))


@decomposes("pixel_unshuffle")
def _pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """The way back."""
    if len(shape_of(input)) != 4:
        return None
    (batch, channels, height, width), r = shape_of(input), downscale_factor
    rows = permuted(reshaped(input, (batch, channels, height // r, r, width)), [0, 1, 3, 2, 4])
    columns = permuted(reshaped(rows, (batch, channels * r, height // r, width // r, r)), [0, 1, 4, 2, 3])
    return reshaped(columns, (batch, channels * r**2, height // r, width // r))


@decomposes("pad")
def _pad(input: Any, pad: Any, mode: str = "constant", value: float | None = None) -> Any:
    """Borders made of the image itself, or of a number, an axis at a time; those of zeros are rows' own."""
    if any(isinstance(size, int) and size < 0 for size in pad):
        return _cut_and_padded(input, pad, mode, value)
    if mode == "constant" and value:
        return _with_constant_borders(input, pad, value)
    if mode not in _BORDERS or not all(isinstance(size, int) for size in pad):
        return None
    x, last = input, len(shape_of(input)) - 1
    for axis, before, after in zip(range(last, -1, -1), pad[::2], pad[1::2], strict=False):
        x = concatenated(_BORDERS[mode](x, axis, before, after), axis)
    return x


def _cut_and_padded(x: Any, pad: Any, mode: str, value: float | None) -> Any:
    """Borders of less than nothing: slices. What is mirrored or repeated is so before they are taken."""
    if not all(isinstance(size, int) for size in pad) or any(pad[2 * len(shape_of(x)) - 2 :]):
        return None
    around = [max(size, 0) for size in pad]
    mirrored = mode in ("reflect", "replicate")
    if mirrored:
        x = aten.pad.default(x, around, mode)
    last = len(shape_of(x)) - 1
    for axis, before, after in zip(range(last, 0, -1), pad[::2], pad[1::2], strict=False):
        x = sliced(x, axis, max(-before, 0), shape_of(x)[axis] - max(-after, 0))
    return x if mirrored or not any(around) else aten.pad.default(x, around, mode, value)


def _with_constant_borders(x: Any, pad: Any, value: float) -> Any:
    """A number that no grid would have room for, as minus infinity, is refused by the row."""
    shape = shape_of(x)
    sides = list(zip(range(len(shape) - 1, -1, -1), pad[::2], pad[1::2], strict=False))
    if abs(value) >= _NO_NUMBER or not all(isinstance(size, int) for size in pad):
        return None
    if any(axis == 0 and (before or after) for axis, before, after in sides):
        return None
    for axis, before, after in sides:
        borders = []
        for size in (before, after):
            number = constant(x, torch.full([1, *shape_of(x)[1:axis], size, *shape_of(x)[axis + 1 :]], float(value)))
            whole = [aten.sym_size.int(x, 0), *[-1] * (len(shape) - 1)]
            borders.append([aten.expand.default(number, whole)] if size else [])
        x = concatenated([*borders[0], x, *borders[1]], axis)
    return x


def _reflected(x: Any, axis: int, before: int, after: int) -> list[Any]:
    size = shape_of(x)[axis]
    places = [*range(before, 0, -1)], [*range(size - 2, size - 2 - after, -1)]
    first, second = ([sliced(x, axis, i, i + 1) for i in side] for side in places)
    return [*first, x, *second]


def _replicated(x: Any, axis: int, before: int, after: int) -> list[Any]:
    size = shape_of(x)[axis]
    first, second = ([sliced(x, axis, i, i + 1)] * n if n else [] for i, n in ((0, before), (size - 1, after)))
    return [*first, x, *second]


def _wrapped(x: Any, axis: int, before: int, after: int) -> list[Any]:
    size = shape_of(x)[axis]
    first = [sliced(x, axis, size - before, size)] if before else []
    return [*first, x, *([sliced(x, axis, 0, after)] if after else [])]


_BORDERS = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}
