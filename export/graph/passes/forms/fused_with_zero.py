"""RELU and RELU6 of int16 as the activation of an ADD of zeros, which adds nothing and rounds nothing.

On one grid its factors are powers of two, and it has taken int16 since before RELU did.
"""

from __future__ import annotations

import numpy as np

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten

__all__ = ["fused_with_zero"]


def fused_with_zero(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Behind a QUANTIZE where the output's grid is another, as RELU rescales."""
    return rewritten(graph, outputs, _fused_with_zero)


def _fused_with_zero(draft: Draft, node: Node) -> bool:
    if node.op not in ("relu", "relu6"):
        return False
    source, stem, result = node.inputs[0], node.output, draft.values[node.output]
    if draft.values[source].qparams != result.qparams:
        source = draft.op("quantize", {}, [source], result.shape, stem=f"{stem}.rescaled", qparams=result.quantization)
    grid = result.quantization
    zero = np.full((1,) * len(result.shape), grid.zero_point[0], grid.dtype)
    zeros = draft.constant(f"{stem}.zero", zero, grid)
    draft.op("add", {"activation": node.op}, [source, zeros], result.shape, output=stem)
    return True
