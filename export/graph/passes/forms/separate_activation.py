"""A fused activation as an op of its own, for editions whose kernel leaves it out."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from qtorch.row.fused_activation import activation_limits

__all__ = ["separate_activation"]


def separate_activation(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Of integers: RELU or RELU6 behind the op, on its own grid, where a factor of 1 changes no code."""
    return rewritten(graph, outputs, _separate)


def _separate(draft: Draft, node: Node) -> bool:
    activation, value = node.attrs.get("activation", "none"), draft.values[node.output]
    if activation == "none" or value.qparams is None:
        return False
    _, high = activation_limits(activation, value.qparams.grid)
    # RELU6 refuses a grid that ends below 6, where RELU gives the same.
    op = "relu" if high == value.qparams.code_range[1] else activation
    linear = draft.named(f"{node.output}.linear", value.shape, value.qparams)
    draft.nodes.append(replace(node, attrs={**node.attrs, "activation": "none"}, outputs=(linear,)))
    draft.op(op, {}, [linear], value.shape, output=node.output)
    return True
