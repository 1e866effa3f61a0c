"""The inputs and outputs of a run's network on a device, and what is known of their numbers."""

from __future__ import annotations

from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout, tensor_layouts
from export.interface.tensor_meaning import output_names, with_meaning
from qtorch.capture.capture import CapturedNetwork
from qtorch.features import Feature, Interface
from qtorch.lightning.callback import network_of
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule

__all__ = ["run_interface", "run_layouts"]


def run_interface(run: Run, graph: Graph) -> Interface:
    """The data's own; without it one feature, the network's own numbers, for a lone input and a lone output.

    Args:
        run: trained.
        graph: of its network.
    """
    if isinstance(run.data, ArrayDataModule):
        return run.data.arrays.interface
    return Interface(
        (Feature("input"),) if len(graph.inputs) == 1 else (), (Feature("output"),) if len(graph.outputs) == 1 else ()
    )


def run_layouts(run: Run, graph: Graph) -> tuple[TensorLayout, ...]:
    """Of all inputs and outputs of a graph, each with its name in the network's code where there are several."""
    network = network_of(run.module)
    inputs: tuple[str, ...] = graph.inputs
    outputs: tuple[str, ...] = ()
    if isinstance(network, CapturedNetwork):
        inputs = network.form.names
        outputs = output_names(None if network.outputs is None else network.outputs.whole)
    return with_meaning(tensor_layouts(graph), run_interface(run, graph), inputs, outputs)
