"""Weights of four bits in eight: the same codes, twice the bytes."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["eight_bits"]


def eight_bits(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Codes and scales of the weights stay, so that every product does."""
    return rewritten(graph, outputs, _widened)


def _widened(draft: Draft, node: Node) -> bool:
    role = node.input_roles().get("weight", "")
    weight = draft.values.get(role)
    if weight is None or weight.data is None or weight.qparams is None or weight.qparams.dtype != "int4":
        return False
    wide = draft.constant(f"{node.output}.weight", weight.contents, replace(weight.qparams, dtype="int8"))
    draft.nodes.append(replace(node, inputs=tuple(wide if name == role else name for name in node.inputs)))
    return True
