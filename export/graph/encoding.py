"""Real data as a graph's inputs hold them: in the device's order of axes, and as codes."""

from __future__ import annotations

import numpy as np

from export.graph.ir import Graph
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples

__all__ = ["codes_of", "stored"]


def stored(graph: Graph, samples: Samples) -> tuple[np.ndarray, ...]:
    """Real numbers in the order of axes in which the device stores them, an array per input of the graph."""
    named = zip(graph.inputs, tensors_in(samples), strict=True)
    return tuple(graph.view(name).store(x.cpu().numpy(), graph.values[name].shape) for name, x in named)


def codes_of(graph: Graph, samples: Samples) -> tuple[np.ndarray, ...]:
    """The same as codes; inputs without a grid stay real."""
    found = []
    for name, array in zip(graph.inputs, stored(graph, samples), strict=True):
        qparams = graph.values[name].qparams
        found.append(array if qparams is None else qparams.quantize(array))
    return tuple(found)
