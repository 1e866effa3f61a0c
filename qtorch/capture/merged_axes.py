"""Permutations of many axes as such of few, over axes that are merged where they stay beside one another."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from qtorch.capture.decomposition_table import Writer, same_shape
from qtorch.capture.emitting import tensor_of
from qtorch.capture.nodes import operator_name

__all__ = ["merge_axes"]

aten = torch.ops.aten

#: As many axes as TRANSPOSE and RESHAPE have on the device.
_MOST = 5

#: Blocks of axes that change places: what lies before them, the first, the second, and what lies behind.
_Swap = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def merge_axes(traced: fx.GraphModule) -> None:
    """Rewrite, in place, permutations of more than five axes, the batch's first; then reshapes of reshapes."""
    for node in list(traced.graph.nodes):
        if operator_name(node) == "permute":
            _rewrite(node)
    for node in list(traced.graph.nodes):
        _take_in(node)
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    traced.recompile()


def _rewrite(node: fx.Node) -> None:
    source = tensor_of(node.args[0])
    assert source is not None
    given: Any = node.args[1]
    order: list[int] = [axis % source.dim() for axis in given]
    sizes = list(source.shape)
    if len(order) <= _MOST or order[0] != 0 or not all(isinstance(size, int) for size in sizes[1:]):
        return
    writer = Writer(node, set())
    value = fx.Proxy(node.args[0], writer)  # type: ignore[arg-type]
    with node.graph.inserting_before(node):
        for blocks in swaps(order[1:]):
            shape = [math.prod(sizes[axis] for axis in block) for block in blocks]
            value = aten.reshape.default(value, [-1, *shape])
            value = aten.permute.default(value, [0, 1, 3, 2, 4])
        value = aten.reshape.default(value, [-1, *(sizes[axis] for axis in order[1:])])
    node.replace_all_uses_with(value.node)
    node.graph.erase_node(node)


def swaps(order: list[int]) -> list[_Swap]:
    """Pairs of neighbouring blocks of axes that have to change places, one after the other, for axes to lie in order.

    Args:
        order: numbers from 1 on, which lie in ascending order before.
    """
    forwards = _swaps(sorted(order), order)
    backwards = [
        (tuple(after[::-1]), tuple(second[::-1]), tuple(first[::-1]), tuple(before[::-1]))
        for before, first, second, after in _swaps(sorted(order)[::-1], order[::-1])
    ]
    return min(forwards, backwards, key=len)


def _swaps(now: list[int], wanted: list[int]) -> list[_Swap]:
    found: list[_Swap] = []
    for place in range(len(wanted)):
        at = now.index(wanted[place])
        if at == place:
            continue
        end = at
        while end < len(now) and now[end] == wanted[place + end - at]:
            end += 1
        blocks = now[:place], now[place:at], now[at:end], now[end:]
        found.append(tuple(tuple(block) for block in blocks))  # type: ignore[arg-type]
        now = [*blocks[0], *blocks[2], *blocks[1], *blocks[3]]
    return found


def _take_in(node: fx.Node) -> None:
    """Let a reshape read what the one before it does, and one that changes nothing be left out."""
    if operator_name(node) != "reshape":
        return
    source: Any = node.args[0]
    while operator_name(source) == "reshape" and len(source.users) == 1:
        source = source.args[0]
    before, after = tensor_of(source), tensor_of(node)
    assert before is not None
    assert after is not None
    if source is not node.args[0]:
        # The batch's size is the one that is not a number.
        numbers = all(isinstance(size, int) for size in after.shape[1:])
        node.args = (source, [-1, *after.shape[1:]] if numbers else node.args[1])
    if same_shape(before.shape, after.shape):
        node.replace_all_uses_with(source)
        node.graph.erase_node(node)
