"""Network to the graph that is written: lowered, laid out, in TFLite's terms, in integers or in a float format.

There is no other way from one to the other: whoever needs the graph of a network, or its float twin, asks here.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import fx, nn

from export.graph.ir import Graph
from export.graph.lower import lower
from export.graph.passes.float_interface import float_interface
from export.graph.passes.frozen import frozen
from export.graph.passes.layout import layout
from export.graph.passes.padding import padding
from export.graph.passes.unread_padding import unread_padding
from export.graph.passes.weight_only import dynamic_range, half_weights
from export.graph.passes.zero_biases import zero_biases
from qtorch.preparation.prepare import prepare
from qtorch.surroundings import evaluating

__all__ = ["FloatFormat", "InputLayout", "build", "float_graph", "integer_graph", "with_ends"]

FloatFormat = Literal["float32", "float16", "dynamic_range"]
InputLayout = Literal["nhwc", "nchw"]


def build(
    network: fx.GraphModule,
    form: Literal["int8", "float32", "float16", "dynamic_range"] = "int8",
    input_layout: InputLayout = "nhwc",
    io: Literal["int8", "float32"] = "int8",
) -> Graph:
    """What a prepared network becomes, as the device stores and computes it.

    Args:
        network: from :func:`qtorch.prepare`; calibrated, if integers are asked for.
        form: ``"int8"`` stands for the network's own integers, 4 and 16 bits among them; ``"float32"`` for its float
            arithmetic, ``"float16"`` and ``"dynamic_range"`` for that with smaller weights
            (:mod:`export.graph.passes.weight_only`).
        input_layout: ``"nchw"`` keeps PyTorch's axis order at the inputs.
        io: whether a graph of integers takes and gives them, or float32; float formats have float32 ends in any case.

    Raises:
        NotFinite: a parameter holds NaN or infinity.
        BadConfiguration: a range was never measured.
        AccumulatorOverflow: a layer's sums could leave their integer type for some input.
    """
    graph = frozen(unread_padding(padding(layout(lower(network, floats=form != "int8"), input_layout))))
    if form == "float16":
        return half_weights(graph)
    if form == "dynamic_range":
        return dynamic_range(graph)
    return graph if form == "float32" else with_ends(zero_biases(graph), io)


def integer_graph(network: fx.GraphModule, input_layout: InputLayout = "nhwc") -> Graph:
    """The integers that a prepared and calibrated network stands for: :func:`build` with what is usually wanted.

    Raises:
        NotFinite: a parameter holds NaN or infinity.
        BadConfiguration: a range was never measured.
        AccumulatorOverflow: a layer's sums could leave their integer type for some input.
    """
    return build(network, input_layout=input_layout)


def float_graph(net: nn.Module, example: Any, form: FloatFormat, input_layout: InputLayout = "nhwc") -> Graph:
    """A float network, in evaluation, as a graph of float kernels.

    Args:
        net: not prepared; left as it was.
        example: an input of it, or a tuple of its several ones.
        form: see :func:`build`.
        input_layout: see :func:`build`.
    """
    with evaluating(net):
        return build(prepare(net, example), form, input_layout)


def with_ends(graph: Graph, io: Literal["int8", "float32"]) -> Graph:
    """A graph of integers as it is, or with float32 inputs and outputs."""
    return graph if io == "int8" else float_interface(graph)
