"""Arithmetic of tensors of more axes than the device has, on fewer: neighbours that all operands have are one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.table import MOST_AXES, is_one
from qtorch.capture.emitting import emit, tensor_of

__all__ = ["merge_axes"]

aten = torch.ops.aten


def merge_axes(traced: fx.GraphModule) -> None:
    """Give, in place, calls that work element by element as few axes as they need, where they have too many.

    Args:
        traced: calls of ATen operators, with their values without data.
    """
    for node in list(traced.graph.nodes):
        value, target = tensor_of(node), node.target
        if not isinstance(target, torch._ops.OpOverload) or torch.Tag.pointwise not in target.tags:
            continue
        if value is None or value.dim() <= MOST_AXES or not value.is_floating_point():
            continue
        shapes = {each: _shape(each, value.dim()) for each in node.all_input_nodes if tensor_of(each) is not None}
        if any(not isinstance(size, int) for shape in (value.shape, *shapes.values()) for size in shape[1:]):
            continue
        groups = _groups(list(shapes.values()), value.dim())
        if len(groups) + 1 <= MOST_AXES:
            _merge(traced, node, shapes, groups)


def _shape(node: fx.Node, rank: int) -> list[Any]:
    shape = tensor_of(node).shape  # type: ignore[union-attr]
    return [1] * (rank - len(shape)) + list(shape)


def _groups(shapes: Sequence[Sequence[Any]], rank: int) -> list[list[int]]:
    """Axes behind the batch's that the same operands have, neighbours together."""

    def spread(axis: int) -> tuple[bool, ...]:
        return tuple(is_one(shape[axis]) for shape in shapes)

    return [list(axes) for _, axes in groupby(range(1, rank), key=spread)]


def _merge(traced: fx.GraphModule, node: fx.Node, shapes: dict[fx.Node, list[Any]], groups: list[list[int]]) -> None:
    value = tensor_of(node)
    assert value is not None
    with traced.graph.inserting_before(node):
        merged = {
            each: emit(
                traced.graph,
                aten.reshape.default,
                (each, [1 if is_one(shape[0]) else -1, *(math.prod(shape[i] for i in group) for group in groups)]),
                like=node,
            )
            for each, shape in shapes.items()
        }
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda each: merged.get(each, each))
        call = emit(traced.graph, node.target, args, kwargs, like=node)
        back = emit(traced.graph, aten.reshape.default, (call, [-1, *map(int, value.shape[1:])]), like=node)
    node.replace_all_uses_with(back)
    traced.graph.erase_node(node)
