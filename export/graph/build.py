"""QAT network to the graph that is written: lowered, laid out, in TFLite's terms."""

from __future__ import annotations

from typing import Literal

from torch import fx

from export.graph.ir import Graph
from export.graph.lower import lower
from export.graph.passes.layout import layout
from export.graph.passes.padding import padding

__all__ = ["integer_graph"]


def integer_graph(network: fx.GraphModule, input_layout: Literal["nhwc", "nchw"] = "nhwc") -> Graph:
    """The integers that a prepared and calibrated network stands for, as the device stores and computes them.

    Args:
        network: from :func:`qtorch.prepare`, calibrated.
        input_layout: ``"nchw"`` keeps PyTorch's axis order at the inputs.

    Raises:
        NotFinite: a parameter holds NaN or infinity.
        BadConfiguration: a range was never measured.
        AccumulatorOverflow: a layer's sums could leave their integer type for some input.
    """
    return padding(layout(lower(network), input_layout))
