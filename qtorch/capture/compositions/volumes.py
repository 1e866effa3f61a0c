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
from torch import Tensor, fx, nn

from qtorch.capture.compositions.table import (
    decomposes,
    is_constant,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    writer_of,
)
from qtorch.capture.emitting import emit
from qtorch.capture.lifting import CalledNorm

__all__ = ["in_two", "is_volume", "norms_of_slices"]

aten = torch.ops.aten


def _three(given: Any) -> list[Any]:
    values = list(given) if isinstance(given, tuple | list) else [given]
    return values * 3 if len(values) == 1 else values


def in_two(x: Any, of_slices: Callable[[Any], Any], across: Callable[[Any], Any] | None) -> Any:
    """A volume's slices changed as images, and what then stands at each place along the first axis, one after another.

    Args:
        x: ``[N, C, D, H, W]`` with any batch.
        of_slices: of ``[N, D * C, H, W]``.
        across: of ``[N, C, H * W, D]``; None where the first axis stays.
    """
    batch, channels, depth, _, _ = shape_of(x)
    y = of_slices(_with_slices_as_channels(x))
    if y is None:
        return None
    y = permuted(reshaped(y, (batch, depth, channels, *shape_of(y)[2:])), [0, 2, 1, 3, 4])
    return y if across is None else _at_each_place(y, across)


def _with_slices_as_channels(x: Any) -> Any:
    """``[N, C, D, H, W]`` as ``[N, D * C, H, W]``."""
    batch, channels, depth, height, width = shape_of(x)
    return reshaped(permuted(x, [0, 2, 1, 3, 4]), (batch, depth * channels, height, width))


def _at_each_place(x: Any, change: Callable[[Any], Any]) -> Any:
    """A volume whose places are the rows of an image ``[N, C, H * W, D]`` that is changed along the other axis."""
    batch, channels, depth, height, width = shape_of(x)
    y = change(reshaped(permuted(x, [0, 1, 3, 4, 2]), (batch, channels, height * width, depth)))
    if y is None:
        return None
    return permuted(reshaped(y, (batch, channels, height, width, shape_of(y)[3])), [0, 1, 4, 2, 3])


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
    depth, result = shape_of(input)[2], result_shape(input)
    steps, holes = _three(stride), _three(dilation)
    covered = (shape_of(weight)[2] - 1) * holes[0] + 1
    if isinstance(padding, str):
        before, after = ((covered - 1) // 2, covered - 1 - (covered - 1) // 2) if padding == "same" else (0, 0)
    else:
        before = after = _three(padding)[0]
    parts = _parts(weight, depth, (before, after), covered, steps[0], holes[0])
    # A group's channels have to be neighbours; else a slice's are, as in what else is made of volumes.
    order = "oecd" if groups > 1 else "eodc"
    merged = _merged(aten.einsum.default(f"ocjhw,dej->{order}hw", [weight, parts]))
    convolution: Any = aten.conv2d.padding if isinstance(padding, str) else aten.conv2d.default
    sides = padding if isinstance(padding, str) else _three(padding)[1:]
    image = _image(input, groups)
    y = convolution(image, merged, _for_each(bias, result[2], groups), steps[1:], sides, holes[1:], groups)
    return _as_volume(y, result, groups)


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
    depth, result = shape_of(input)[2], result_shape(input)
    steps, before, more, holes = (_three(each) for each in (stride, padding, output_padding, dilation))
    covered = (shape_of(weight)[2] - 1) * holes[0] + 1
    behind = max(0, (depth - 1) * steps[0] + covered - before[0] - result[2])
    parts = _parts(weight, result[2], (before[0], behind), covered, steps[0], holes[0])
    parts = aten.slice.Tensor(parts, 1, 0, depth)
    order = "cdoe" if groups > 1 else "dceo"
    merged = _merged(aten.einsum.default(f"cojhw,edj->{order}hw", [weight, parts]))
    each = _for_each(bias, result[2], groups)
    image = _image(input, groups)
    y = aten.conv_transpose2d.input(image, merged, each, steps[1:], before[1:], more[1:], groups, holes[1:])
    return _as_volume(y, result, groups)


def _image(x: Any, groups: int) -> Any:
    batch, channels, depth, height, width = shape_of(x)
    return reshaped(x, (batch, channels * depth, height, width)) if groups > 1 else _with_slices_as_channels(x)


def _as_volume(y: Any, result: Sequence[Any], groups: int) -> Any:
    batch, channels, depth, height, width = result
    if groups > 1:
        return reshaped(y, result)
    return permuted(reshaped(y, (batch, depth, channels, height, width)), [0, 2, 1, 3, 4])


def _merged(weight: Any) -> Any:
    first, second, third, fourth, *window = shape_of(weight)
    return aten.reshape.default(weight, [first * second, third * fourth, *window])


def _parts(like: Any, depth: int, sides: tuple[int, int], covered: int, step: int, hole: int) -> Any:
    """``[depth, windows, k]``: one where place ``k`` of a window is that slice, else zero."""
    make = writer_of(like).create_proxy
    places = make("call_function", aten.eye.default, (depth,), {})
    windows = aten.unfold.default(aten.constant_pad_nd.default(places, list(sides)), 1, covered, step)
    return aten.slice.Tensor(windows, 2, 0, covered, hole)


def _for_each(bias: Any, slices: int, groups: int) -> Any:
    if bias is None:
        return None
    return aten.repeat_interleave.self_int(bias, slices, 0) if groups > 1 else aten.repeat.default(bias, [slices])


def norms_of_slices(traced: fx.GraphModule) -> None:
    """Let every batch norm of volumes be one of images ``[N, C, H * W, D]``, in place; its parameters stay as they are.

    Its statistics are the same ones, over all places of a channel.
    """
    for node in list(traced.graph.nodes):
        norm = traced.get_submodule(str(node.target)) if node.op == "call_module" else None
        value = node.meta.get("val")
        if type(norm) not in (nn.BatchNorm3d, CalledNorm) or not isinstance(value, Tensor) or value.dim() != 5:
            continue
        # That of volumes refuses images, and is called with nothing else.
        norm.__class__ = CalledNorm
        _, channels, depth, height, width = value.shape
        with traced.graph.inserting_before(node):
            moved = emit(traced.graph, aten.permute.default, (node.args[0], [0, 1, 3, 4, 2]), like=node)
            image = emit(traced.graph, aten.reshape.default, (moved, [-1, channels, height * width, depth]), like=node)
        node.args, node.meta["val"] = (image,), image.meta["val"]
        with traced.graph.inserting_before(node.next):
            apart = emit(traced.graph, aten.reshape.default, (node, [-1, channels, height, width, depth]), like=node)
            back = emit(traced.graph, aten.permute.default, (apart, [0, 1, 4, 2, 3]), like=node)
        node.replace_all_uses_with(back, lambda user, apart=apart: user is not apart)
