"""The inputs and outputs of a network on a device, and what is known of their numbers."""

from __future__ import annotations

from torch import nn

from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout, tensor_layouts
from export.interface.tensor_meaning import output_names, with_meaning
from qtorch.capture.capture import CapturedNetwork
from qtorch.features import Feature, Interface

__all__ = ["network_interface", "network_layouts"]


def network_interface(graph: Graph, known: Interface | None) -> Interface:
    """The one that is known; without it one feature, the network's own numbers, for a lone input and a lone output.

    Args:
        graph: of the network.
        known: what the data say of the numbers, if they do.
    """
    if known is not None:
        return known
    return Interface(
        (Feature("input"),) if len(graph.inputs) == 1 else (), (Feature("output"),) if len(graph.outputs) == 1 else ()
    )


def network_layouts(network: nn.Module, graph: Graph, known: Interface | None) -> tuple[TensorLayout, ...]:
    """Of all inputs and outputs of a graph, each with its name in the network's code where there are several.

    Args:
        network: whose code has the names.
        graph: what it became.
        known: see :func:`network_interface`.
    """
    inputs: tuple[str, ...] = graph.inputs
    outputs: tuple[str, ...] = ()
    if isinstance(network, CapturedNetwork):
        inputs = network.form.names
        outputs = output_names(None if network.outputs is None else network.outputs.whole)
    return with_meaning(tensor_layouts(graph), network_interface(graph, known), inputs, outputs)
