"""Give an int8 graph a float32 interface: QUANTIZE at every input, DEQUANTIZE at every output.

Inputs have to lie within 2**31 steps of the input's grid, its scale times 2147483520, and be no NaN: beyond that the
kernel's conversion to an integer is undefined (:mod:`qtorch.ops.quantize`). With int8 inputs, the generated header
``*_quantization.h`` saturates any float.
"""

from __future__ import annotations

from export.graph.ir import Graph, Node, Value, check

__all__ = ["float_interface"]


def float_interface(graph: Graph) -> Graph:
    """Needs int8 inputs and outputs; gives float32 ones of the same shapes, and the same integers in between.

    Indices stay what they are.
    """
    values = dict(graph.values)
    inputs, outputs, before, after = [], [], [], []
    for name in graph.inputs:
        if graph.values[name].of_indices:
            inputs.append(name)
            continue
        outer = f"{name}.real"
        values[outer] = Value(values[name].shape, None)
        before.append(Node("quantize", {}, (outer,), (name,)))
        inputs.append(outer)
    for name in graph.outputs:
        if graph.values[name].of_indices:
            outputs.append(name)
            continue
        outer = f"{name}.real"
        values[outer] = Value(values[name].shape, None)
        after.append(Node("dequantize", {}, (name,), (outer,)))
        outputs.append(outer)
    nodes = (*before, *graph.nodes, *after)
    views = {name if graph.values[name].of_indices else f"{name}.real": view for name, view in graph.views.items()}
    return check(Graph(values, nodes, tuple(inputs), tuple(outputs), views, graph.states))
