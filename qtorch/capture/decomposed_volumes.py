"""Volumes ``[N, C, D, H, W]`` as images whose channels are the slices: poolings, convolutions and resizings of them.

A pooling or a resizing is one of images ``[N, C * D, H, W]`` and one of images ``[N, C, D, H * W]``. A convolution is
one of ``[N, C * D, H, W]`` whose weight is zero where a slice has no part in a slice of the result: one sum of
products, that is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from qtorch.capture.decomposition_table import decomposes, reshaped, result_shape, shape_of, writer_of

aten = torch.ops.aten

#: The operator of images by that of volumes, called with an image and sizes along its two axes.
_Step = Callable[[Any, int], Any]


def _three(given: Any) -> list[Any]:
    values = list(given) if isinstance(given, tuple | list) else [given]
    return values * 3 if len(values) == 1 else values


def _in_two(x: Any, of_slices: Callable[[Any], Any], across: Callable[[Any], Any] | None) -> Any:
    """A volume's slices changed as images, and what then stands at each place along the first axis, one after another.

    Args:
        x: ``[N, C, D, H, W]`` with any batch.
        of_slices: of ``[N, C * D, H, W]``.
        across: of ``[N, C, D, H * W]``; None where the first axis stays.
    """
    batch, channels, depth, height, width = shape_of(x)
    y = of_slices(reshaped(x, (batch, channels * depth, height, width)))
    if y is None:
        return None
    height, width = shape_of(y)[2:]
    if across is None:
        return reshaped(y, (batch, channels, depth, height, width))
    y = across(reshaped(y, (batch, channels, depth, height * width)))
    return None if y is None else reshaped(y, (batch, channels, shape_of(y)[2], height, width))


def _is_volume(x: Any) -> bool:
    shape = shape_of(x)
    return len(shape) == 5 and all(isinstance(size, int) for size in shape[1:])


@decomposes("max_pool3d")
def _max_pool3d(
    input: Any, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest along rows and columns, and the largest of those: nothing is rounded."""
    if not _is_volume(input):
        return None
    kernel, steps, before, holes = (_three(each) for each in (kernel_size, stride or kernel_size, padding, dilation))

    def pooled(x: Any, *axes: int) -> Any:
        window, step, sides, apart = ([each[axis] for axis in axes] for each in (kernel, steps, before, holes))
        if len(axes) == 1:
            window, step, sides, apart = [*window, 1], [*step, 1], [*sides, 0], [*apart, 1]
        return aten.max_pool2d.default(x, window, step, sides, apart, ceil_mode)

    plain = (kernel[0], steps[0], before[0]) == (1, 1, 0)
    return _in_two(input, lambda x: pooled(x, 1, 2), None if plain else lambda x: pooled(x, 0))


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
    if not _is_volume(input):
        return None
    kernel, steps, before = (_three(each) for each in (kernel_size, stride or kernel_size, padding))
    of_slices, across = None, None

    def pooled(x: Any, window: Any, step: Any, sides: Any, divisor: int | None = None) -> Any:
        return aten.avg_pool2d.default(x, window, step, sides, ceil_mode, count_include_pad, divisor)

    if divisor_override is not None and math.prod(kernel[1:]) != divisor_override:
        # Sums of slices, of which the mean's divisor is made.
        of_slices = lambda x: pooled(x, kernel[1:], steps[1:], before[1:], 1)  # noqa: E731
        across = lambda x: pooled(x, [kernel[0], 1], [steps[0], 1], [before[0], 0], divisor_override)  # noqa: E731
        return _in_two(input, of_slices, across)
    divisor = None if divisor_override is None else math.prod(kernel[1:])
    last = None if divisor_override is None else 1
    plain = (kernel[0], steps[0], before[0], last) == (1, 1, 0, None)
    alone = (kernel[1:], steps[1:], before[1:]) == ([1, 1], [1, 1], [0, 0])
    of_slices = (lambda x: x) if alone else (lambda x: pooled(x, kernel[1:], steps[1:], before[1:], divisor))
    across = None if plain else (lambda x: pooled(x, [kernel[0], 1], [steps[0], 1], [before[0], 0], last))
    return _in_two(input, of_slices, across)


@decomposes("adaptive_avg_pool3d")
def _adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    return _adaptive(input, aten.adaptive_avg_pool2d.default)


@decomposes("adaptive_max_pool3d")
def _adaptive_max_pool3d(input: Any, output_size: Any) -> Any:
    result = _adaptive(input, lambda x, size: aten.adaptive_max_pool2d.default(x, size)[0])
    return None if result is None else (result, None)


def _adaptive(x: Any, pool: Callable[[Any, Sequence[int]], Any]) -> Any:
    if not _is_volume(x):
        return None
    before, after = shape_of(x)[2:], result_shape(x)[2:]
    of_slices = (lambda y: y) if before[1:] == after[1:] else (lambda y: pool(y, list(after[1:])))
    across = None if before[0] == after[0] else (lambda y: pool(y, [after[0], shape_of(y)[3]]))
    return _in_two(x, of_slices, across)
