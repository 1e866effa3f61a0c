"""Ops after which each number is what it was: sums with zero, products with one, limits that nothing passes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from export.graph.interpret import interpret
from export.graph.ir import Graph, Node, Value, check
from export.graph.rewriting import without_unread

__all__ = ["neutral_ops"]

#: Ops whose output at one place depends on the input there, and on constants that are broadcast.
_OF_EACH_NUMBER = frozenset(
    {"add", "div", "leaky_relu", "maximum", "minimum", "mul", "prelu", "quantize", "relu", "relu6", "sub"}
)
#: Of codes and places together that are tried; what has more stays.
_MOST = 2**22


def neutral_ops(graph: Graph) -> Graph:
    """The graph without ops that give every code of their input back, at every place: all codes are tried.

    An op whose output is one of the graph's stays.

    Args:
        graph: of integers, in TFLite's terms.
    """
    instead, nodes = dict[str, str](), list[Node]()
    for node in graph.nodes:
        node = replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        if node.output not in graph.sinks and (source := _unchanged(graph, node)) is not None:
            instead[node.output] = source
        else:
            nodes.append(node)
    return check(without_unread(replace(graph, nodes=tuple(nodes))))


def _unchanged(graph: Graph, node: Node) -> str | None:
    """The input whose every code comes out as it went in, if there is one."""
    computed = [name for name in node.inputs if graph.values[name].data is None]
    if node.op not in _OF_EACH_NUMBER or len(computed) != 1:
        return None
    (name,) = computed
    source, output = graph.values[name], graph.values[node.output]
    if source.qparams is None or (source.shape, source.qparams) != (output.shape, output.qparams):
        return None
    constants = [graph.values[each] for each in node.inputs if each != name]
    shape = _places(source.shape, constants)
    low, high = graph.code_range(name)
    if shape[0] != 1 or math.prod(shape) * (high - low + 1) > _MOST:
        return None
    alone = replace(
        graph,
        values={**graph.values, name: replace(source, shape=shape), node.output: replace(output, shape=shape)},
        nodes=(node,), inputs=(name,), outputs=(node.output,), states=(), views={}, shifted=frozenset(),
    )  # fmt: skip
    codes = np.arange(low, high + 1).astype(source.array_dtype).reshape(-1, *(1 for _ in shape[1:]))
    codes = np.broadcast_to(codes, (len(codes), *shape[1:])).copy()
    return name if (interpret(alone, (codes,))[node.output] == codes).all() else None


def _places(shape: tuple[int, ...], constants: list[Value]) -> tuple[int, ...]:
    """Places that differ in a constant: an axis along which none changes is as good as one of size 1."""
    rank = len(shape)
    held = [(1,) * (rank - len(each.shape)) + each.shape for each in constants]
    return tuple(size if any(each[axis] != 1 for each in held) else 1 for axis, size in enumerate(shape))
