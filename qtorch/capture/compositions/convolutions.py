"""Transposed convolutions of several groups and with holes, and products of two tensors by a weight.

Weights are computed from the network's own, which stay trained under their own names.
"""

from __future__ import annotations

from typing import Any

import torch

from qtorch.capture.compositions.table import (
    concatenated,
    decomposes,
    is_constant,
    permuted,
    reshaped,
    result_shape,
    shape_of,
    sliced,
)

aten = torch.ops.aten

#: More groups than this are no convolutions side by side.
_FEW_GROUPS = 4


def _pair(given: Any, rank: int, one: int) -> tuple[int, int]:
    values = list(given) if isinstance(given, tuple | list) else [given]
    return (one if rank == 3 else values[0], values[-1])


@decomposes("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """Holes are zeros of the weight; a few groups stand side by side, and many are one ordinary convolution."""
    rank = len(shape_of(input))
    steps, before, more, holes = (
        _pair(given, rank, one) for given, one in ((stride, 1), (padding, 0), (output_padding, 0), (dilation, 1))
    )
    if (groups == 1 and holes == (1, 1)) or not 3 <= rank <= 4 or not is_constant(weight):
        return None
    image, kernel = (aten.unsqueeze.default(x, 2) if rank == 3 else x for x in (input, weight))
    if holes != (1, 1):
        kernel = _with_holes(kernel, holes)
    if any(extra >= step for extra, step in zip(more, steps, strict=True)):
        # What only holes allow: zeros behind the weight make as many places.
        kernel, more = aten.constant_pad_nd.default(kernel, [0, more[1], 0, more[0]]), (0, 0)
    if groups > _FEW_GROUPS or (groups > 1 and steps == (1, 1)):
        size = (1, *result_shape(input)[2:])[-2:]
        y = _by_phases(image, kernel, bias, steps, before, groups, size)
    else:
        parts = []
        for group in range(groups):
            x, w, b = (_share(each, axis, group, groups) for each, axis in ((image, 1), (kernel, 0), (bias, 0)))
            parts.append(aten.conv_transpose2d.input(x, w, b, list(steps), list(before), list(more)))
        y = concatenated(parts, 1)
    return aten.squeeze.dim(y, 2) if rank == 3 else y


def _share(x: Any, axis: int, number: int, count: int) -> Any:
    if x is None:
        return None
    size = shape_of(x)[axis] // count
    return sliced(x, axis, number * size, (number + 1) * size)


def _with_holes(kernel: Any, holes: tuple[int, int]) -> Any:
    """``[I, O, h, w]`` with zeros between its elements."""
    inputs, outputs, height, width = shape_of(kernel)
    apart = aten.reshape.default(kernel, [inputs, outputs, height, 1, width, 1])
    apart = aten.constant_pad_nd.default(apart, [0, holes[1] - 1, 0, 0, 0, holes[0] - 1])
    wide = aten.reshape.default(apart, [inputs, outputs, height * holes[0], width * holes[1]])
    for axis, size, hole in ((2, height, holes[0]), (3, width, holes[1])):
        wide = aten.slice.Tensor(wide, axis, 0, (size - 1) * hole + 1)
    return wide


def _by_phases(
    x: Any,
    kernel: Any,
    bias: Any,
    steps: tuple[int, int],
    cut: tuple[int, int],
    groups: int,
    size: tuple[int, int],
) -> Any:
    """Elements of the result that lie a step apart are an ordinary convolution's; together they are its channels."""
    batch, channels, *image = shape_of(x)
    _, outputs, *window = shape_of(kernel)
    taps = [-(-k // s) for k, s in zip(window, steps, strict=True)]
    whole = aten.constant_pad_nd.default(kernel, [0, taps[1] * steps[1] - window[1], 0, taps[0] * steps[0] - window[0]])
    apart = [groups, channels // groups, outputs, taps[0], steps[0], taps[1], steps[1]]
    turned = aten.flip.default(aten.reshape.default(whole, apart), [3, 5])
    phases = steps[0] * steps[1]
    weight = aten.reshape.default(
        aten.permute.default(turned, [0, 2, 4, 6, 1, 3, 5]), [groups * outputs * phases, channels // groups, *taps]
    )
    each = None if bias is None else aten.repeat_interleave.self_int(bias, phases, 0)
    # So many places of each phase, the first ones with what lies before the image.
    counts = [-(-(c + n) // s) for c, n, s in zip(cut, size, steps, strict=True)]
    (below, right) = (max(0, count - n) for count, n in zip(counts, image, strict=True))
    sides = [taps[1] - 1, right, taps[0] - 1, below]
    padded = aten.pad.default(x, sides) if any(sides) else x
    y = aten.conv2d.default(padded, weight, each, [1, 1], [0, 0], [1, 1], groups)
    down, across = shape_of(y)[2:]
    if phases > 1:
        # The columns' phases first, so that no step has six axes.
        y = reshaped(y, (batch, groups * outputs * steps[0], steps[1], down, across))
        y = reshaped(permuted(y, [0, 1, 3, 4, 2]), (batch, groups * outputs, steps[0], down, across * steps[1]))
        y = reshaped(permuted(y, [0, 1, 3, 2, 4]), (batch, groups * outputs, down * steps[0], across * steps[1]))
    return sliced(sliced(y, 2, cut[0], cut[0] + size[0]), 3, cut[1], cut[1] + size[1])


@decomposes("bilinear")
def _bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """Every product of an element of the first and one of the second, by a matrix: rounded twice.

    Args:
        input1: ``[N, ..., I]``.
        input2: ``[N, ..., J]``.
        weight: ``[O, I, J]``.
        bias: ``[O]``.
    """
    if not is_constant(weight):
        return None
    outputs, first, second = shape_of(weight)
    front = shape_of(input1)[:-1]
    one, other = (aten.unsqueeze.default(x, len(front) + i) for x, i in ((input1, 1), (input2, 0)))
    products = reshaped(aten.mul.Tensor(one, other), (*front, first * second))
    return aten.linear.default(products, aten.reshape.default(weight, [outputs, first * second]), bias)
