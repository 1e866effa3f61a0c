"""Convolutions whose weights are computed for every sample, written as many groups of one image: a product of matrices.

People write ``F.conv2d(x.view(1, B * C, H, W), w.view(B * O, C, h, w), groups=B)`` where a sample has weights of its
own: mixtures of kernels, a template that is looked for. With the batch in front those are the windows of ``x``, side by
side, times a matrix.
"""

from __future__ import annotations

import math

import torch

from qtorch.capture.batch.calls import Held, MovedCall, size_of
from qtorch.capture.batch.layout import layout_of, multiple_of_batch

__all__ = ["by_computed_kernels"]

aten = torch.ops.aten


def by_computed_kernels(call: MovedCall) -> Held | None:
    """What stands for the result of such a ``conv1d`` or ``conv2d``; None of another one."""
    image, kernels, bias = (call.held(call.arguments[name]) for name in ("input", "weight", "bias"))
    groups = multiple_of_batch(size_of(call.arguments["groups"]))
    if image is None or kernels is None or groups == 0 or (bias is None) != (call.arguments["bias"] is None):
        return None
    places_of_batch = [(each.layout.axis, each.layout.outer) for each in (image, kernels)]
    if image.layout.sizes[0] != 1 or places_of_batch != [(1, 1), (0, 1)]:
        return None
    channels, *sizes = image.layout.sizes[1:]
    outputs, _, *window = kernels.layout.sizes
    flat = [1] * (2 - len(sizes))
    taps = channels // groups * math.prod(window)
    x = call.reshaped(image.node, (channels, *flat, *sizes))
    sides = [side for pair in reversed(_sides(call)) for side in pair]
    if any(sides):
        x = call.emit(aten.pad.default, x, sides)
    steps, holes = ([*flat, *call.arguments[name]] for name in ("stride", "dilation"))
    windows = call.emit(aten.im2col.default, x, [*flat, *window], holes, [0, 0], steps)
    places = math.prod(int(size) for size in call.shape[2:])
    product = call.emit(
        aten.matmul.default,
        call.reshaped(kernels.node, (groups, outputs // groups, taps)),
        call.reshaped(windows, (groups, taps, places)),
    )
    layout = layout_of(call.shape, 1, 1, outputs)
    if bias is not None:
        rows = call.reshaped(product, (outputs, places))
        product = call.emit(aten.add.Tensor, rows, call.reshaped(bias.node, (outputs, 1)))
    return call.as_held(product, layout)


def _sides(call: MovedCall) -> list[tuple[int, int]]:
    """Padding in front of each axis and behind it."""
    padding, sizes = call.arguments["padding"], call.arguments["weight"].meta["val"].shape[2:]
    if padding == "same":
        holes = call.arguments["dilation"]
        more = [hole * (int(size) - 1) for hole, size in zip(holes, sizes, strict=True)]
        return [(each // 2, each - each // 2) for each in more]
    return [(0, 0)] * len(sizes) if padding == "valid" else [(each, each) for each in padding]
