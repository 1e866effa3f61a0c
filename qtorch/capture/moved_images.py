"""Layers of images and signals, of tensors whose axis 0 is the batch merged with others: a call for each of these.

``[B * T, C, H, W]`` is ``T`` tensors ``[B, C, H, W]``, side by side. What reads them one by one reads these, so that
between convolutions nothing is put together.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch_layout import batch_of
from qtorch.capture.moved_calls import Held, MovedCall, Result, rule

__all__ = ["by_parts", "one_by_one"]

aten = torch.ops.aten

#: More calls than this are no way to compute a layer.
_MOST_PARTS = 64


@rule(
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
    "avg_pool2d", "batch_norm", "channel_shuffle", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d",
    "group_norm", "instance_norm", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices",
    "pixel_shuffle", "pixel_unshuffle", "prelu", "upsample_bilinear2d", "upsample_nearest1d", "upsample_nearest2d",
)  # fmt: skip
def _by_parts(call: MovedCall) -> Result:
    return one_by_one(call, lambda part: call.replaced({call.node.all_input_nodes[0]: part}))


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
