"""An operator with a copy of its input in front of it: a QUANTIZE to the grid that it has, which changes no code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["behind_quantize"]


def behind_quantize(graph: Graph, outputs: frozenset[str]) -> Graph:
    """For kernels whose record must not be the first in memory: the copy's record lies in front of it."""
    return rewritten(graph, outputs, _behind_quantize)


def _copies(draft: Draft) -> Callable[[Node], bool]:
    """Whether a node is such a copy."""
    return lambda node: (
        node.op == "quantize" and draft.values[node.inputs[0]].qparams == draft.values[node.output].qparams
    )


def _behind_quantize(draft: Draft, node: Node) -> bool:
    source = draft.values[node.inputs[0]]
    if node.op != "conv_2d" or source.qparams is None or any(map(_copies(draft), draft.nodes)):
        return False
    copied = draft.op("quantize", {}, node.inputs[:1], source.shape, stem=f"{node.output}.copied")
    draft.nodes.append(replace(node, inputs=(copied, *node.inputs[1:])))
    return True
