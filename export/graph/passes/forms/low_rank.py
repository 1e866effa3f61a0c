"""TRANSPOSE of at most four axes: axes that stay together are merged, and what needs more takes several steps."""

from __future__ import annotations

import math

from export.graph.ir import Graph, Node
from export.graph.memory_order import MemoryOrder, steps
from export.graph.rewriting import Draft, rewritten

__all__ = ["low_rank"]

_RANK = 4


def low_rank(graph: Graph, outputs: frozenset[str]) -> Graph:
    """RESHAPE, TRANSPOSE of rank 4 or less, RESHAPE, as often as it takes."""
    return rewritten(graph, outputs, _low_rank)


def _low_rank(draft: Draft, node: Node) -> bool:
    perm = tuple(node.attrs.get("perm", ()))
    source, stem = node.inputs[0], node.output
    shape = draft.shape(source)
    if node.op != "transpose" or len(shape) <= _RANK or perm[0] != 0 or shape[0] != 1:
        return False
    long = [axis for axis in perm[1:] if shape[axis] > 1]
    if long != sorted(long):
        blocks = MemoryOrder(shape, ((0,), tuple(long))).coarsest()
        for sizes, moves in steps(blocks, _RANK):
            if len(sizes) > _RANK:
                # Of five axes in such a step the first two stay.
                sizes, moves = (math.prod(sizes[:2]), *sizes[2:]), (0, *(move - 1 for move in moves[2:]))
            source = draft.reshape(source, sizes, stem=f"{stem}.cut")
            moved = tuple(sizes[axis] for axis in moves)
            source = draft.op("transpose", {"perm": moves}, [source], moved, stem=f"{stem}.moved")
    draft.reshape(source, draft.shape(stem), output=stem)
    return True
