"""Factors of scores, taken into the softmax that reads them: its kernel multiplies differences by a number anyway."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import fx

from qtorch.capture.compositions.masks import HANDED_ON, constant_value
from qtorch.capture.compositions.table import Writer
from qtorch.capture.nodes import operator_name
from qtorch.families.masked_scores import masked_scores, scaled_softmax

__all__ = ["take_factors_in"]

aten = torch.ops.aten

#: Factors that a softmax takes in: smaller ones would leave its input no fine grid, and larger ones its 16-bit kernel
#: little of a range.
_LEAST, _MOST = 2.0**-10, 2.0**6


def take_factors_in(traced: fx.GraphModule, constants: set[fx.Node]) -> None:
    """Rewrite ``softmax(c * a @ b + mask)``, in place, as a softmax of ``a @ b + mask / c`` times ``c``.

    Args:
        traced: a graph as :func:`~qtorch.capture.compositions.decompose.decompose_calls` has it.
        constants: nodes that depend on nothing that is handed in.
    """
    for node in list(traced.graph.nodes):
        if operator_name(node) == "softmax" and _last_axis(node):
            _take_in(node, constants)


def _divided(number: float | None, factor: float) -> float | None:
    """By a factor, and no infinity."""
    return None if number is None else max(number / factor, torch.finfo(torch.float32).min)


def _last_axis(node: fx.Node) -> bool:
    axis: Any = node.args[1]
    return axis % node.meta["val"].dim() == node.meta["val"].dim() - 1


def _take_in(node: fx.Node, constants: set[fx.Node]) -> None:
    source: Any = node.args[0]
    path = list(_before(source, node, constants))
    factors = [(each, number) for each, number in path if number is not None]
    beta = math.prod(number for _, number in factors)
    if not factors or not _LEAST <= beta <= _MOST:
        return
    for place, (each, _) in enumerate(path):
        if each.target is masked_scores:
            scores, limits, room, *numbers = cast(tuple[Any, ...], each.args)
            before = math.prod(behind for _, behind in path[place:] if behind is not None)
            each.args = (scores, limits, room / beta, *(_divided(number, before) for number in numbers))
        elif operator_name(each) == "add":
            _divide(each, math.prod(behind for _, behind in path[place:] if behind is not None), constants)
    for each, _ in factors:
        each.replace_all_uses_with(_operands(each, constants)[0])
        each.graph.erase_node(each)
    writer = Writer(node, constants)
    with node.graph.inserting_before(node):
        scaled = writer.create_node("call_function", scaled_softmax, (node.args[0], beta), {}, "softmax")
    node.replace_all_uses_with(scaled)
    node.graph.erase_node(node)


def _before(node: fx.Node, reader: fx.Node, constants: set[fx.Node]) -> Iterator[tuple[fx.Node, float | None]]:
    """Calls whose result goes into ``reader`` alone, the last first: products with a number, and the number; masks, and
    sums with a constant. Behind a product of matrices those of both."""
    if list(node.users) != [reader] or node in constants or node.op != "call_function":
        return
    name = operator_name(node)
    if name in ("matmul", "bmm"):
        for operand in node.all_input_nodes:
            yield from _before(operand, node, constants)
        return
    operands = _operands(node, constants)
    if name == "mul" and len(operands) == 2:
        number = _number(node, operands[1])
        if number is None:
            return
        yield node, number
    elif node.target is masked_scores or (name == "add" and len(operands) == 2 and _is_plain(node)):
        yield node, None
    elif name not in HANDED_ON:
        return
    if operands:
        yield from _before(operands[0], node, constants)


def _operands(node: fx.Node, constants: set[fx.Node]) -> list[Any]:
    """Of a call, the one tensor that is computed at run time, and what else stands beside it; none of several."""
    given = list(node.args[:2]) if operator_name(node) in ("add", "mul") else list(node.args[:1])
    running = [each for each in given if isinstance(each, fx.Node) and each not in constants]
    return [*running, *(each for each in given if each not in running)] if len(running) == 1 else []


def _is_plain(node: fx.Node) -> bool:
    return not node.kwargs and len(node.args) == 2 and isinstance(_other(node), fx.Node)


def _other(node: fx.Node) -> Any:
    return node.args[1]


def _number(node: fx.Node, factor: Any) -> float | None:
    """A positive factor, of a constant that nothing trains."""
    if isinstance(factor, int | float):
        return float(factor) if factor > 0 else None
    trained = isinstance(factor, fx.Node) and factor.meta["val"].requires_grad
    if not isinstance(factor, fx.Node) or trained or factor.meta["val"].numel() != 1:
        return None
    value = constant_value(fx.Proxy(factor, Writer(node, {factor})))
    return None if value is None or not 0 < float(value) < math.inf else float(value)


def _divide(node: fx.Node, factor: float, constants: set[fx.Node]) -> None:
    """The constant that a sum adds, by what the sum is multiplied by from now on."""
    if factor == 1:
        return
    running, constant = _operands(node, constants)
    writer = Writer(node, constants)
    with node.graph.inserting_before(node):
        divided = writer.create_node("call_function", aten.mul.Tensor, (constant, 1 / factor), {})
    node.args = (running, divided)
