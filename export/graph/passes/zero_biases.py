"""Biases of zeros for 16-bit layers that have none.

TFLite Micro summed a 16-bit layer without a bias in 32 bits until 2026, and then in 64 as one with a bias: other last
bits. With a bias of int64 zeros all editions sum in 64 bits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.graph.ir import Graph, Node, Value, check
from export.graph.rewriting import accumulator_grid
from qtorch.numbers.qparams import QParams

__all__ = ["zero_biases"]

_LAYERS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv")


def zero_biases(graph: Graph) -> Graph:
    """Gives a graph whose layers on int16 all have a bias, but for those whose accumulator's step is below float32's.

    Layers of as many outputs on one grid share one constant.
    """
    values, nodes = dict(graph.values), list[Node]()
    made: dict[tuple[int, QParams], str] = {}
    for node in graph.nodes:
        roles = node.input_roles()
        grid = None if node.op not in _LAYERS or "bias" in roles else values[roles["input"]].qparams
        weight = None if grid is None else values[roles["weight"]]
        wide = grid is not None and grid.dtype == "int16"
        qparams = accumulator_grid(grid, weight.quantization) if wide and grid and weight else None
        if qparams is None:
            nodes.append(node)
            continue
        count = values[node.output].shape[-1]
        if (count, qparams) not in made:
            made[count, qparams] = f"{node.output}.zero_bias"
            values[made[count, qparams]] = Value((count,), qparams, np.zeros(count, np.int64))
        nodes.append(replace(node, inputs=(*node.inputs, made[count, qparams])))
    return check(replace(graph, values=values, nodes=tuple(nodes)))
