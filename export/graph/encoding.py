"""Real data as a graph's inputs and outputs hold them: in the device's order of axes, and as codes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from export.graph.ir import Graph
from qtorch.capture.call_form import tensors_in
from qtorch.capture.samples import Samples

__all__ = ["codes_of", "decoded", "stored"]


def stored(graph: Graph, samples: Samples) -> tuple[np.ndarray, ...]:
    """Real numbers in the order of axes in which the device stores them, an array per input of the graph."""
    named = zip(graph.inputs, tensors_in(samples), strict=True)
    return tuple(graph.store(name, x.cpu().numpy()) for name, x in named)


def codes_of(graph: Graph, samples: Samples) -> tuple[np.ndarray, ...]:
    """The same as codes; inputs without a grid stay real."""
    arrays = zip(graph.inputs, stored(graph, samples), strict=True)
    return tuple(graph.values[name].quantize(array) for name, array in arrays)


def decoded(graph: Graph, outputs: Iterable[np.ndarray]) -> tuple[np.ndarray, ...]:
    """What an engine gives as the network's own outputs: float32 in PyTorch's order of axes, an array per output."""
    return tuple(graph.decode(name, array) for name, array in zip(graph.outputs, outputs, strict=True))
