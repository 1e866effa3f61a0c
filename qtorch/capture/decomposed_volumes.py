"""Volumes ``[N, C, D, H, W]`` as images whose channels are the slices: poolings, convolutions and resizings of them.

A pooling or a resizing is one of images ``[N, C * D, H, W]`` and one of its slices at each place. A convolution is
one of ``[N, C * D, H, W]`` whose weight is zero where a slice has no part in a slice of the result: one sum of
products, that is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from qtorch.capture.decomposition_table import (
    decomposes,
    is_constant,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    writer_of,
)

__all__ = ["in_two", "is_volume"]

aten = torch.ops.aten


def _three(given: Any) -> list[Any]:
    values = list(given) if isinstance(given, tuple | list) else [given]
    return values * 3 if len(values) == 1 else values


def in_two(x: Any, of_slices: Callable[[Any], Any], across: Callable[[Any], Any] | None) -> Any:
    """A volume's slices changed as images, and what then stands at each place along the first axis, one after another.

    Args:
        x: ``[N, C, D, H, W]`` with any batch.
        of_slices: of ``[N, C * D, H, W]``.
        across: of ``[N, 1, H * W * C, D]``; None where the first axis stays.
    """
    batch, channels, depth, height, width = shape_of(x)
    y = of_slices(reshaped(x, (batch, channels * depth, height, width)))
    if y is None:
        return None
    if across is None:
        return reshaped(y, (batch, channels, depth, *shape_of(y)[2:]))
    # Where the slices are channels, each place's are a row of an image of one channel, where they lie.
    places = permuted(y, [0, 2, 3, 1])
    _, height, width, _ = shape_of(places)
    y = across(reshaped(places, (batch, 1, height * width * channels, depth)))
    if y is None:
        return None
    depth = shape_of(y)[3]
    y = permuted(reshaped(y, (batch, height, width, channels * depth)), [0, 3, 1, 2])
    return reshaped(y, (batch, channels, depth, height, width))


def is_volume(x: Any) -> bool:
    """Whether a tensor is ``[N, C, D, H, W]`` of known sizes but the batch's."""
    shape = shape_of(x)
    return len(shape) == 5 and all(isinstance(size, int) for size in shape[1:])


@decomposes("max_pool3d")
def _max_pool3d(
    input: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest along rows and columns, and the largest of those: nothing is rounded."""
    if not is_volume(input):
        return None
    kernel, steps, before, holes = (_three(each) for each in (kernel_size, stride or kernel_size, padding, dilation))

    def pooled(x: Any, *axes: int) -> Any:
        window, step, sides, apart = ([each[axis] for axis in axes] for each in (kernel, steps, before, holes))
        if len(axes) == 1:
            window, step, sides, apart = [1, *window], [1, *step], [0, *sides], [1, *apart]
        return aten.max_pool2d.default(x, window, step, sides, apart, ceil_mode)

    plain = (kernel[0], steps[0], before[0]) == (1, 1, 0)
    return in_two(input, lambda x: pooled(x, 1, 2), None if plain else lambda x: pooled(x, 0))


@decomposes("avg_pool3d")
def _avg_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = (),
    padding: Any = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of means: a window has as many places everywhere along one axis, whatever it is cut to along others."""
    if not is_volume(input):
        return None
    kernel, steps, before = (_three(each) for each in (kernel_size, stride or kernel_size, padding))
    of_slices, across = None, None

    def pooled(x: Any, window: Any, step: Any, sides: Any, divisor: int | None = None) -> Any:
        return aten.avg_pool2d.default(x, window, step, sides, ceil_mode, count_include_pad, divisor)

    if divisor_override is not None and math.prod(kernel[1:]) != divisor_override:
        # Sums of slices, of which the mean's divisor is made.
        of_slices = lambda x: pooled(x, kernel[1:], steps[1:], before[1:], 1)  # noqa: E731
        across = lambda x: pooled(x, [1, kernel[0]], [1, steps[0]], [0, before[0]], divisor_override)  # noqa: E731
        return in_two(input, of_slices, across)
    divisor = None if divisor_override is None else math.prod(kernel[1:])
    last = None if divisor_override is None else 1
    plain = (kernel[0], steps[0], before[0], last) == (1, 1, 0, None)
    alone = (kernel[1:], steps[1:], before[1:]) == ([1, 1], [1, 1], [0, 0])
    of_slices = (lambda x: x) if alone else (lambda x: pooled(x, kernel[1:], steps[1:], before[1:], divisor))
    across = None if plain else (lambda x: pooled(x, [1, kernel[0]], [1, steps[0]], [0, before[0]], last))
    return in_two(input, of_slices, across)


@decomposes("adaptive_avg_pool3d")
def _adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    return _adaptive(input, aten.adaptive_avg_pool2d.default)


@decomposes("adaptive_max_pool3d")
def _adaptive_max_pool3d(input: Any, output_size: Any) -> Any:
    result = _adaptive(input, lambda x, size: aten.adaptive_max_pool2d.default(x, size)[0])
    return None if result is None else (result, None)


def _adaptive(x: Any, pool: Callable[[Any, Sequence[int]], Any]) -> Any:
    if not is_volume(x):
        return None
    before, after = shape_of(x)[2:], result_shape(x)[2:]
    of_slices = (lambda y: y) if before[1:] == after[1:] else (lambda y: pool(y, list(after[1:])))
    across = None if before[0] == after[0] else (lambda y: pool(y, [shape_of(y)[2], after[0]]))
    return in_two(x, of_slices, across)


@decomposes("conv3d")
def _conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Every slice of the result is the sum over its own slices, as many channels of one image."""
    if not is_volume(input) or not is_constant(weight):
        return None
    (batch, channels, depth, height, width), result = shape_of(input), result_shape(input)
    steps, holes = _three(stride), _three(dilation)
    covered = (shape_of(weight)[2] - 1) * holes[0] + 1
    if isinstance(padding, str):
        before, after = ((covered - 1) // 2, covered - 1 - (covered - 1) // 2) if padding == "same" else (0, 0)
    else:
        before = after = _three(padding)[0]
    image = reshaped(input, (batch, channels * depth, height, width))
    parts = _parts(weight, depth, (before, after), covered, steps[0], holes[0])
    whole = aten.einsum.default("ocjhw,dej->oecdhw", [weight, parts])
    outputs, slices, inner, _, *window = shape_of(whole)
    merged = aten.reshape.default(whole, [outputs * slices, inner * depth, *window])
    convolution: Any = aten.conv2d.padding if isinstance(padding, str) else aten.conv2d.default
    sides = padding if isinstance(padding, str) else _three(padding)[1:]
    y = convolution(image, merged, _for_each(bias, slices), steps[1:], sides, holes[1:], groups)
    return reshaped(y, (batch, outputs, slices, *result[3:]))


@decomposes("conv_transpose3d")
def _conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The way back: every slice has a part in several of the result."""
    if not is_volume(input) or not is_constant(weight):
        return None
    (batch, channels, depth, height, width), result = shape_of(input), result_shape(input)
    steps, before, more, holes = (_three(each) for each in (stride, padding, output_padding, dilation))
    covered = (shape_of(weight)[2] - 1) * holes[0] + 1
    image = reshaped(input, (batch, channels * depth, height, width))
    behind = max(0, (depth - 1) * steps[0] + covered - before[0] - result[2])
    parts = _parts(weight, result[2], (before[0], behind), covered, steps[0], holes[0])
    parts = aten.slice.Tensor(parts, 1, 0, depth)
    whole = aten.einsum.default("cojhw,edj->cdoehw", [weight, parts])
    _, _, inner, slices, *window = shape_of(whole)
    merged = aten.reshape.default(whole, [channels * depth, inner * slices, *window])
    y = aten.conv_transpose2d.input(
        image, merged, _for_each(bias, slices), steps[1:], before[1:], more[1:], groups, holes[1:]
    )
    return reshaped(y, (batch, inner * groups, slices, *result[3:]))


def _parts(like: Any, depth: int, sides: tuple[int, int], covered: int, step: int, hole: int) -> Any:
    """``[depth, windows, k]``: one where place ``k`` of a window is that slice, else zero."""
    make = writer_of(like).create_proxy
    places = make("call_function", aten.eye.default, (depth,), {})
    windows = aten.unfold.default(aten.constant_pad_nd.default(places, list(sides)), 1, covered, step)
    return aten.slice.Tensor(windows, 2, 0, covered, hole)


def _for_each(bias: Any, slices: int) -> Any:
    return None if bias is None else aten.repeat_interleave.self_int(bias, slices, 0)
