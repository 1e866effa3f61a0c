"""A table of codes whose indices a QUANTIZE counts from 0 on, in the place of CAST and ADD.

TFLite Micro's ADD took no int32 before 2023-03-30. QUANTIZE has brought int8 to int32 since 2021, and by a factor of
exactly one here: the zero point alone is another.
"""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from qtorch.row.tflite_cell import COUNTED_BY, QUANTIZED

__all__ = ["quantized_index"]


def quantized_index(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Two operators of the file where there are three; the op stays a table."""
    return rewritten(graph, outputs, _quantized_index)


def _quantized_index(draft: Draft, node: Node) -> bool:
    if node.op != "table" or node.attrs.get(COUNTED_BY) == QUANTIZED:
        return False
    draft.nodes.append(replace(node, attrs={**node.attrs, COUNTED_BY: QUANTIZED}))
    return True
