"""Where an engine's tensors of a file part from the integers: the first operator whose output differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.engines import InspectableEngine
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph, Node
from export.parity.shifted_ends import in_other_codes
from export.tflite.equivalents.shifted_codes import shifted_codes

__all__ = ["FirstDifference", "first_difference"]


@dataclass(frozen=True)
class FirstDifference:
    """One tensor.

    Attributes:
        node: whose output it is.
        index: of the node in the graph.
        name: of the tensor.
        at: the first place that differs.
        found: the engine's code there.
        expected: the integers' code there.
        wrong: places that differ.
        elements: of the tensor.
    """

    node: Node
    index: int
    name: str
    at: tuple[int, ...]
    found: int | float
    expected: int | float
    wrong: int
    elements: int


def first_difference(
    graph: Graph,
    model: bytes,
    places: Mapping[str, int],
    inputs: Sequence[np.ndarray],
    sample: int,
    engine: InspectableEngine,
) -> FirstDifference | None:
    """The first in the order of execution; ``None`` where all tensors that can be looked at are equal.

    Args:
        graph: as it was read from the file.
        model: the file.
        places: the file's index of each tensor of the graph that it has.
        inputs: samples of each input, as the graph has them.
        sample: which of them is looked at.
        engine: with ``tensors``.

    Raises:
        EngineRefused: the engine does not run the file with all its tensors kept.
    """
    # What states are at a run is what all runs before it made of them.
    begin = 0 if graph.states else sample
    rows = [graph.values[name].rows for name in graph.inputs]
    chosen = tuple(array[begin * n : (sample + 1) * n] for array, n in zip(inputs, rows, strict=True))
    computed = interpret_sequence(graph, chosen, every=True)
    fed = in_other_codes(graph, graph.inputs, chosen)
    (*_, kept) = engine.tensors(model, fed, 1 + max(places.values()))
    for index, node in enumerate(graph.nodes):
        for name in node.outputs:
            if name not in places:
                continue
            runs = computed[name]
            ours = runs[(sample - begin) * (len(runs) // (sample + 1 - begin)) :]
            theirs = kept[places[name]]
            theirs = shifted_codes(theirs) if theirs.dtype == np.uint8 else theirs
            if theirs.size != ours.size:
                continue
            theirs = theirs.reshape(ours.shape)
            wrong = np.argwhere(theirs != ours)
            if len(wrong):
                at = tuple(map(int, wrong[0]))
                return FirstDifference(node, index, name, at, theirs[at], ours[at], len(wrong), ours.size)
    return None
