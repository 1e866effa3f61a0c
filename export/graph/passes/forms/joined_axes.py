"""MEAN and SUM over fewer axes: those that stand together, reduced or kept, are joined by a RESHAPE.

The sums stay those of the same codes, and so does how many there are.
"""

from __future__ import annotations

import math
from itertools import groupby

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["joined_axes"]


def joined_axes(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Where some of the reduced axes stand together; the first axis stays apart."""
    return rewritten(graph, outputs, _joined)


def _joined(draft: Draft, node: Node) -> bool:
    if node.op not in ("mean", "sum"):
        return False
    axes, shape, output = set(node.attrs["axes"]), draft.shape(node.inputs[0]), draft.values[node.output]
    groups = [
        (reduced, math.prod(shape[axis] for axis in each))
        for (_, reduced), each in groupby(range(len(shape)), key=lambda axis: (axis == 0, axis in axes))
    ]
    fewer = tuple(place for place, (reduced, _) in enumerate(groups) if reduced)
    if len(fewer) == len(axes):
        return False
    source = draft.reshape(node.inputs[0], tuple(size for _, size in groups), stem=f"{node.output}.joined")
    kept = tuple(size for reduced, size in groups if not reduced)
    attrs = {**node.attrs, "axes": fewer, "keep_dims": False}
    made = draft.op(node.op, attrs, [source], kept, stem=f"{node.output}.reduced", qparams=output.quantization)
    draft.reshape(made, output.shape, output=node.output)
    return True
