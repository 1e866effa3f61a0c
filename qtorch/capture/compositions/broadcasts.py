"""Tensors that are made larger by copies of themselves: for most readers they need not be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.compositions.table import (
    Writer,
    broadcast_shape,
    concatenated,
    is_one,
    reshaped,
    same_shape,
    shape_of,
)
from qtorch.capture.nodes import operator_name
from qtorch.families.arithmetic import squared_difference

__all__ = ["BROADCASTING", "copy_broadcasts", "drop_broadcasts"]

#: Calls of several tensors whose shapes broadcast.
BROADCASTING = frozenset({
    "add", "addcdiv", "addcmul", "cross", "div", "eq", "ge", "gt", "le", "lerp", "linalg_cross", "lt", "maximum",
    "minimum", "mul", "ne", "pow", "rsub", "sub", "where",
})  # fmt: skip

_EXPANSIONS = frozenset({"broadcast_to", "expand", "expand_as"})


def drop_broadcasts(traced: fx.GraphModule) -> None:
    """Let elementwise readers of an expanded tensor broadcast themselves, in place.

    Args:
        traced: a graph as :func:`~qtorch.capture.compositions.decompose.decompose_calls` has it.
    """
    # From behind, so that of several in a row each is dropped for the readers of the last.
    for node in reversed(list(traced.graph.nodes)):
        if operator_name(node) in _EXPANSIONS:
            source = node.args[0]
            for reader in list(node.users):
                if _broadcasts(reader, node, source):
                    reader.replace_input_with(node, source)
            if not node.users:
                traced.graph.erase_node(node)


def copy_broadcasts(traced: fx.GraphModule, constants: set[fx.Node]) -> None:
    """Let what is expanded be copies side by side, in place; an axis that grows with the batch stays expanded.

    Args:
        traced: a graph as :func:`~qtorch.capture.compositions.decompose.decompose_calls` has it.
        constants: nodes that depend on nothing that is handed in; they stay.
    """
    for node in list(traced.graph.nodes):
        if operator_name(node) in _EXPANSIONS and node not in constants:
            copies = _copies(node, constants)
            if copies is not node:
                node.replace_all_uses_with(copies)
                traced.graph.erase_node(node)


def _broadcasts(reader: fx.Node, node: fx.Node, source: Any) -> bool:
    """Whether a reader computes the same from what was expanded."""
    if operator_name(reader) not in BROADCASTING and reader.target is not squared_difference:
        return False
    shapes = [_sizes(source if operand is node else operand) for operand in reader.args if isinstance(operand, fx.Node)]
    return same_shape(broadcast_shape(shapes), _sizes(reader))


def _sizes(node: fx.Node) -> tuple[Any, ...]:
    value: Tensor = node.meta["val"]
    return tuple(value.shape)


def _copies(node: fx.Node, constants: set[fx.Node]) -> fx.Node:
    """An expanded tensor without expanding any axis but the batch's; ``node`` itself where there is no other."""
    source, wanted = node.args[0], _sizes(node)
    assert isinstance(source, fx.Node)
    given = (1,) * (len(wanted) - len(_sizes(source))) + _sizes(source)
    grown = [axis for axis, size in enumerate(wanted) if isinstance(size, int) and is_one(given[axis]) and size != 1]
    batch = [axis for axis, size in enumerate(wanted) if not isinstance(size, int) and is_one(given[axis])]
    if not grown and batch:
        return node
    writer = Writer(node, constants)
    with node.graph.inserting_before(node):
        x: Any = reshaped(fx.Proxy(source, writer), given)
        for axis in grown:
            x = concatenated([x] * wanted[axis], axis)
        if batch:
            whole = [_size(node, axis, writer) if axis in batch else -1 for axis in range(len(wanted))]
            x = torch.ops.aten.expand.default(x, whole)
    assert same_shape(shape_of(x), wanted)
    result: fx.Node = x.node
    return result


def _size(node: fx.Node, axis: int, writer: Writer) -> fx.Proxy:
    """How large an axis becomes that grows with the batch."""
    like: Any = node.args[1]
    if isinstance(like, fx.Node):
        return torch.ops.aten.sym_size.int(fx.Proxy(like, writer), axis)
    return fx.Proxy(like[axis], writer)
