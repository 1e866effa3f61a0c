"""Calls on tensors of more axes than the device has, on fewer: neighbours that a call treats alike are one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import fx, nn

from qtorch.capture.compositions.table import MOST_AXES, is_one
from qtorch.capture.emitting import emit, tensor_of
from qtorch.capture.nodes import operator_name, schema_arguments
from qtorch.families.arithmetic import squared_difference

__all__ = ["merge_axes"]

aten = torch.ops.aten


#: Calls along one axis, or some, which leave all others as they are.
_ALONG_AXES = frozenset({"amax", "amin", "cat", "flip", "log_softmax", "mean", "slice", "softmax", "sum"})


def merge_axes(traced: fx.GraphModule) -> None:
    """Give, in place, calls as few axes as they need, where they have too many.

    They work element by element, or along axes that they name.

    Args:
        traced: calls of ATen operators, with their values without data.
    """
    for node in list(traced.graph.nodes):
        value, target = tensor_of(node), node.target
        if value is not None and node.op == "call_module" and isinstance(traced.get_submodule(str(target)), nn.PReLU):
            _merge_behind_channels(traced, node)
            continue
        if operator_name(node) in _ALONG_AXES and value is not None and value.is_floating_point():
            _merge_others(traced, node)
            continue
        pointwise = isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags
        if not pointwise and target is not squared_difference:
            continue
        if value is None or value.dim() <= MOST_AXES or not value.is_floating_point():
            continue
        shapes = {each: _shape(each, value.dim()) for each in node.all_input_nodes if tensor_of(each) is not None}
        if any(not isinstance(size, int) for shape in (value.shape, *shapes.values()) for size in shape[1:]):
            continue
        groups = _groups(list(shapes.values()), value.dim())
        if len(groups) + 1 <= MOST_AXES:
            _merge(traced, node, shapes, groups)


def _merge_others(traced: fx.GraphModule, node: fx.Node) -> None:
    """Make one axis of neighbours that a call does not work along."""
    arguments = schema_arguments(node)
    dim = arguments.get("dim", arguments.get("dims"))
    sources = [each for each in node.all_input_nodes if tensor_of(each) is not None]
    shape = _shape(sources[0], 0)
    rank = len(shape)
    if rank <= MOST_AXES or dim is None or any(len(_shape(each, 0)) != rank for each in sources):
        return
    axes = [axis % rank for axis in (dim if isinstance(dim, list | tuple) else [dim])]
    sizes = [size for each in (*sources, node) for size in _shape(each, 0)[1:]]
    if 0 in axes or any(not isinstance(size, int) for size in sizes):
        return
    groups = [list(group) for _, group in groupby(range(1, rank), key=axes.__contains__)]
    if len(groups) + 1 > MOST_AXES:
        return
    places = [place for place, group in enumerate(groups, 1) if group[0] in axes]
    with traced.graph.inserting_before(node):
        merged = {
            each: emit(
                traced.graph,
                aten.reshape.default,
                (each, [-1, *(math.prod(_shape(each, 0)[axis] for axis in group) for group in groups)]),
                like=node,
            )
            for each in sources
        }
        arguments["dim" if "dim" in arguments else "dims"] = places if isinstance(dim, list | tuple) else places[0]
        target: Any = node.target
        given = {name: fx.map_arg(each, lambda of: merged.get(of, of)) for name, each in arguments.items()}
        named = {each.name: given.pop(each.name) for each in target._schema.arguments if each.kwarg_only}
        call = emit(traced.graph, target, tuple(given.values()), named, like=node)
        back = emit(traced.graph, aten.reshape.default, (call, [-1, *_shape(node, 0)[1:]]), like=node)
    node.replace_all_uses_with(back)
    traced.graph.erase_node(node)


def _merge_behind_channels(traced: fx.GraphModule, node: fx.Node) -> None:
    """Make one axis of all that is behind the channels, where there are more than an image's."""
    channels, *others = _shape(node, 0)[1:] or [1]
    if len(others) <= 2 or not all(isinstance(size, int) for size in others):
        return
    with traced.graph.inserting_before(node):
        sizes = [-1, channels, math.prod(others)]
        merged = emit(traced.graph, aten.reshape.default, (node.args[0], sizes), like=node)
        node.args, node.meta = (merged,), {**node.meta, "val": merged.meta["val"]}
    with traced.graph.inserting_after(node):
        back = emit(traced.graph, aten.reshape.default, (node, [-1, channels, *others]), like=node)
    node.replace_all_uses_with(back, lambda reader: reader is not back)


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
