"""REDUCE_MIN and REDUCE_MAX as the lesser, or greater, of two halves, and of halves of those.

A half may overlap the other: what is compared twice is the same.
"""

from __future__ import annotations

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["halves"]

_OF_TWO = {"reduce_min": "minimum", "reduce_max": "maximum"}


def halves(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Two SLICEs and a MINIMUM for every halving of an axis; not of the first axis."""
    return rewritten(graph, outputs, _halves)


def _halves(draft: Draft, node: Node) -> bool:
    if node.op not in _OF_TWO or 0 in node.attrs["axes"]:
        return False
    source, stem = node.inputs[0], node.output
    for axis in node.attrs["axes"]:
        while (size := draft.shape(source)[axis]) > 1:
            shape = draft.shape(source)
            half = (*shape[:axis], (size + 1) // 2, *shape[axis + 1 :])
            begin = [0] * len(shape)
            first = draft.cut(source, begin, half, stem=f"{stem}.first")
            begin[axis] = size // 2
            second = draft.cut(source, begin, half, stem=f"{stem}.second")
            source = draft.op(_OF_TWO[node.op], {}, [first, second], half, stem=f"{stem}.half")
    draft.reshape(source, draft.shape(stem), output=stem)
    return True
