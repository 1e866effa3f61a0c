"""Float graphs with smaller weights: int8 (dynamic range) or float16.

Both need a graph in float32 throughout. TFLite Micro runs neither: it has no kernel that mixes float activations with
integer weights, and its DEQUANTIZE reads no float16. LiteRT does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from export.graph.ir import Graph, Node, Value, check
from qtorch.numbers.functional import WEIGHT_RANGE, largest_magnitude, weight_codes
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import SymmetricWeight

__all__ = ["dynamic_range", "half_weights"]


def dynamic_range(graph: Graph) -> Graph:
    """The weights of ops with a hybrid kernel as int8 with a scale per output channel, all else as it is."""
    values = dict(graph.values)
    for node in graph.nodes:
        roles = node.input_roles()
        if not node.row.hybrid or "weight" not in roles:
            continue
        value, demand = values[roles["weight"]], node.row.constraints["weight"]
        if value.data is None or value.qparams is not None:
            continue
        assert isinstance(demand, SymmetricWeight)
        weight = torch.from_numpy(value.data)
        scale = (largest_magnitude(weight, demand.axis) / WEIGHT_RANGE["int8"][1]).clamp_min(2.0**-120)
        grid = Grid(scale, torch.zeros((), dtype=torch.int32))
        codes = weight_codes(weight, grid, demand.axis).numpy().astype(np.int8)
        values[roles["weight"]] = Value(value.shape, QParams.of(grid, demand.axis), codes)
    return check(replace(graph, values=values))


def half_weights(graph: Graph) -> Graph:
    """Every constant of two axes or more as float16, behind a DEQUANTIZE to float32."""
    values, nodes = dict[str, Value](), list[Node]()
    for name, value in graph.values.items():
        if value.data is None or value.data.dtype != np.float32 or value.data.ndim < 2:
            values[name] = value
            continue
        half = f"{name}.half"
        with np.errstate(over="ignore"):
            data = value.data.astype(np.float16)
        # What float16 can't hold stays at its end, rather than becoming infinite.
        data = np.clip(data, np.finfo(np.float16).min, np.finfo(np.float16).max)
        values[half] = Value(value.shape, None, data)
        values[name] = replace(value, data=None)
        nodes.append(Node("dequantize", {}, (half,), (name,)))
    return check(replace(graph, values=values, nodes=(*nodes, *graph.nodes)))
