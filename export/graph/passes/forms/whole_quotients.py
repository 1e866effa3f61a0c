"""Ops whose kernels divided scales in float32 until October 2026, made of such as always did so in double.

QUANTIZE, MUL, ADD and the table of a function have exact factors in all editions. RELU on one grid divides a scale by
itself, which is exact in float32 too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS

__all__ = ["whole_quotients"]

#: A code of -1 that stands for -1.
_MINUS_ONE = QParams((1.0,), (0,))


def whole_quotients(graph: Graph, outputs: frozenset[str]) -> Graph:
    """RELU as QUANTIZE and RELU; of int8, HARD_SWISH and LEAKY_RELU as a table, SUB as a sum with the negative."""
    return rewritten(graph, outputs, _whole)


def _whole(draft: Draft, node: Node) -> bool:
    if node.op == "relu":
        return _relu(draft, node)
    source, output = draft.values[node.inputs[0]], draft.values[node.output]
    if source.dtype != "int8" or output.dtype != "int8":
        return False
    if node.op in ("hard_swish", "leaky_relu"):
        codes = torch.arange(-128, 128)
        grids = {"input": source.quantization.grid, "output": output.quantization.grid}
        table = ROWS[node.op].reference(node.attrs, {"input": codes}, grids, Rounding.DOUBLE).numpy().astype(np.int8)
        constant = draft.constant(f"{node.output}.codes", table, output.quantization)
        draft.op("table", {}, [node.inputs[0], constant], output.shape, output=node.output)
        return True
    return node.op == "sub" and _sub(draft, node)


def _relu(draft: Draft, node: Node) -> bool:
    source, output = draft.values[node.inputs[0]], draft.values[node.output]
    if source.qparams == output.qparams:
        return False
    moved = draft.op(
        "quantize", {}, [node.inputs[0]], output.shape, stem=f"{node.output}.rescaled", qparams=output.quantization
    )
    draft.op("relu", {}, [moved], output.shape, output=node.output)
    return True


def _sub(draft: Draft, node: Node) -> bool:
    other = draft.values[node.inputs[1]]
    grid = other.quantization
    # Every code has a negative there: -128 becomes 127, and the zero point goes along.
    turned = replace(grid, zero_point=(-1 - grid.zero_point[0],))
    if other.data is not None:
        negative = draft.constant(f"{node.output}.negative", (-1 - other.data.astype(np.int64)).astype(np.int8), turned)
    else:
        one = draft.constant(f"{node.output}.minus_one", np.full((1,) * len(other.shape), -1, np.int8), _MINUS_ONE)
        attrs = {"activation": "none"}
        negative = draft.op(
            "mul", attrs, [node.inputs[1], one], other.shape, stem=f"{node.output}.negative", qparams=turned
        )
    draft.op("add", node.attrs, [node.inputs[0], negative], draft.shape(node.output), output=node.output)
    return True
