"""Attributes that no file can say become constants: a chain of functions the table of its codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.graph.ir import Graph, Node, Value, check

__all__ = ["frozen"]


def frozen(graph: Graph) -> Graph:
    """Needs a graph whose nodes have what their rows make constants of; gives one in which integer nodes have these
    constants instead of their attributes. What computes in float32 stays as it is.
    """
    values, nodes = dict(graph.values), list[Node]()
    for node in graph.nodes:
        if node.row.frozen is None or graph.is_float(node) or not node.attrs:
            nodes.append(node)
            continue
        qparams = graph.qparams(node)
        grids = {role: each.grid for role, each in qparams.items() if each is not None}
        names = dict(node.input_roles())
        for role, codes in node.row.frozen(node.attrs, grids).items():
            on = graph.values[node.output].quantization
            names[role] = f"{node.output}.{role}"
            data = codes.numpy().astype(on.dtype)
            values[names[role]] = Value(data.shape, on, np.ascontiguousarray(data))
        inputs = tuple(names[role] for role in node.row.roles if role in names)
        nodes.append(replace(node, attrs={}, inputs=inputs))
    return check(replace(graph, values=values, nodes=tuple(nodes)))
