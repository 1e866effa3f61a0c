"""Layers of images and signals, of tensors whose axis 0 is the batch merged with others: a call for each of these.

``[B * T, C, H, W]`` is ``T`` tensors ``[B, C, H, W]``, side by side. What reads them one by one reads these, so that
between convolutions nothing is put together. What computes each channel by itself takes them as channels.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch.calls import Held, MovedCall, Result, rule
from qtorch.capture.batch.computed_kernels import by_computed_kernels
from qtorch.capture.batch.layout import batch_of

__all__ = ["by_parts", "channel_by_channel", "one_by_one"]

aten = torch.ops.aten

#: More calls than this are no way to compute a layer.
_MOST_PARTS = 64


@rule(
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
    "avg_pool2d", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices",
    "upsample_bilinear2d", "upsample_nearest1d", "upsample_nearest2d",
)  # fmt: skip
def _of_each_channel(call: MovedCall) -> Result:
    return channel_by_channel(call, lambda x, _: call.replaced({call.node.all_input_nodes[0]: x}))


def channel_by_channel(call: MovedCall, called: Callable[[fx.Node, tuple[int, ...]], fx.Node]) -> Result:
    """The results of one call, of the parts of the one tensor with batch as channels of each other.

    Args:
        call: of a layer that computes each channel by itself; where there are the parts already, it is called for each.
        called: the call of a tensor; told the sizes of its result behind the batch.
    """
    x = call.source
    if x is None or x.layout.axis or x.layout.rank < 3:
        return None
    if x.node in call.parts:
        return one_by_one(call, lambda part: called(part, tuple(call.shape[1:])))
    layouts = [x.layout.with_sizes(shape) for shape in call.shapes]
    parts, channels, *image = x.layout.sizes
    _, _, *other = layouts[0].sizes
    result = called(call.reshaped(x.node, (parts * channels, *image)), (parts * channels, *other))
    if not isinstance(call.node.meta["val"], tuple | list):
        return call.as_held(result, layouts[0])
    results = [call.emit(operator.getitem, result, at) for at in range(len(layouts))]
    return [call.as_held(each, layout) for each, layout in zip(results, layouts, strict=True)]


@rule(
    "batch_norm", "channel_shuffle", "col2im", "conv_transpose1d", "conv_transpose2d",
    "group_norm", "im2col", "instance_norm", "pixel_shuffle", "pixel_unshuffle", "prelu",
)  # fmt: skip
def _by_parts(call: MovedCall) -> Result:
    return one_by_one(call, lambda part: call.replaced({call.node.all_input_nodes[0]: part}))


@rule("conv1d", "conv2d")
def _convolution(call: MovedCall) -> Result:
    return by_computed_kernels(call) if call.held(call.arguments["weight"]) else _by_parts(call)


def one_by_one(call: MovedCall, called: Callable[[fx.Node], fx.Node]) -> Result:
    """The results of a call of every part of the one tensor with batch.

    Args:
        call: whose results begin with the same axis as that tensor.
        called: the call of a part.
    """
    x = call.source
    if x is None or x.layout.axis or not 1 < x.layout.sizes[0] <= _MOST_PARTS:
        return None
    if any(batch_of(shape) != (0, x.layout.sizes[0]) for shape in call.shapes):
        return None
    results = [called(part) for part in _parts(call, x)]
    if not isinstance(call.node.meta["val"], tuple | list):
        return by_parts(call, x, results)
    found = []
    for at in range(len(call.shapes)):
        elements = [call.emit(operator.getitem, result, at) for result in results]
        held = by_parts(call, x, elements, call.shapes[at])
        found.append(held)
    return found


def by_parts(call: MovedCall, like: Held, parts: list[fx.Node], shape: tuple[Any, ...] = ()) -> Held:
    """What stands for a tensor of which there is every part."""
    node = call.emit(aten.stack.default, parts, 1)
    call.parts[node] = parts
    return Held(node, like.layout.with_sizes(shape or call.shape))


def _parts(call: MovedCall, x: Held) -> list[fx.Node]:
    if x.node not in call.parts:
        call.parts[x.node] = [call.emit(aten.select.int, x.node, 1, at) for at in range(x.layout.sizes[0])]
    return call.parts[x.node]
