"""SOFTMAX and FULLY_CONNECTED of rank 2, between RESHAPEs; all rows at once, or an op for each."""

from __future__ import annotations

import math

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["one_row", "rank_2"]


def rank_2(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Tensors ``[1, ..., D]`` become ``[rows, D]``."""
    return rewritten(graph, outputs, _rows_together)


def one_row(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Tensors ``[..., D]`` become as many ``[1, D]``, an op for each, and a CONCATENATION of what they give."""
    return rewritten(graph, outputs, _rows_apart)


def _rows_together(draft: Draft, node: Node) -> bool:
    size, rows = _sizes(draft, node)
    if not rows or len(draft.shape(node.inputs[0])) == 2:
        return False
    stem, result = node.output, draft.values[node.output]
    source = draft.reshape(node.inputs[0], (rows, size), stem=f"{stem}.rows")
    shape, inputs = (rows, result.shape[-1]), [source, *node.inputs[1:]]
    made = draft.op(node.op, _attrs(node), inputs, shape, stem=f"{stem}.of_rows", qparams=result.qparams)
    draft.reshape(made, result.shape, output=stem)
    return True


def _rows_apart(draft: Draft, node: Node) -> bool:
    size, rows = _sizes(draft, node)
    if rows == 1:
        return _rows_together(draft, node)
    if not rows:
        return False
    stem, result = node.output, draft.values[node.output]
    source, width = draft.reshape(node.inputs[0], (1, rows * size), stem=f"{stem}.rows"), result.shape[-1]
    grid = draft.values[source].qparams
    parts = tuple(draft.named(f"{stem}.row{row}", (1, size), grid) for row in range(rows))
    draft.nodes.append(Node("split", {"axis": 1, "num_splits": rows}, (source,), parts))
    made = [
        draft.op(
            node.op, _attrs(node), [part, *node.inputs[1:]], (1, width), stem=f"{stem}.of_row", qparams=result.qparams
        )
        for part in parts
    ]
    draft.reshape(draft.join(made, 1, stem=f"{stem}.of_rows"), result.shape, output=stem)
    return True


def _sizes(draft: Draft, node: Node) -> tuple[int, int]:
    """Elements of a row and number of rows, which is 0 where the op is another."""
    shape = draft.shape(node.inputs[0])
    if node.op == "softmax":
        return shape[-1], math.prod(shape[:-1])
    if node.op == "fully_connected":
        size = draft.shape(node.input_roles()["weight"])[1]
        return size, math.prod(shape) // size
    return 0, 0


def _attrs(node: Node) -> dict[str, object]:
    return {**node.attrs, "keep_num_dims": False} if node.op == "fully_connected" else dict(node.attrs)
