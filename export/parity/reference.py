"""The integer reference of many samples, in the memory that there is."""

from __future__ import annotations

import numpy as np

from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph
from qtorch.errors import AccumulatorOverflow, BadModelFile
from qtorch.numbers.fixedpoint import Rounding

__all__ = ["activations", "interpreted", "sample_count"]

#: Elements of all activations that the reference computes at a time; each takes eight bytes, and some more.
_TOGETHER = 2**22


def interpreted(
    graph: Graph, samples: tuple[np.ndarray, ...], rounding: Rounding = Rounding.DOUBLE, where: str = "model"
) -> dict[str, np.ndarray]:
    """:func:`~export.graph.interpret.interpret_sequence`, as many samples at a time as memory holds.

    Raises:
        BadModelFile: the reference can't compute what the file holds.
    """
    count = sample_count(graph, samples)
    # Samples of a graph with states are runs in their order, each of which begins with what the last one left.
    together = count if graph.states else max(1, _TOGETHER // max(1, activations(graph)))
    rows = [len(array) // count for array in samples]
    cut = [
        tuple(array[start * n : (start + together) * n] for array, n in zip(samples, rows, strict=True))
        for start in range(0, count, together)
    ]
    try:
        parts = [interpret_sequence(graph, each, rounding) for each in cut]
    except AccumulatorOverflow as error:
        raise BadModelFile(
            where=where, expected="sums that int32 holds", got=error.got,
            remedy="TFLite Micro lets them wrap around without a word, and outputs mean nothing then: convert the "
            "network again, with representative data like those of training, or with another version of the converter",
        ) from error  # fmt: skip
    # Whatever a row says to attributes and shapes that it never had.
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise BadModelFile(
            where=where, expected="operators that the reference can compute",
            got=str(error).partition("\n")[0][:300] or type(error).__name__,
            remedy="qtorch summary shows what is in the file; convert the network again",
        ) from error  # fmt: skip
    return {name: np.concatenate([part[name] for part in parts]) for name in graph.outputs}


def sample_count(graph: Graph, samples: tuple[np.ndarray, ...]) -> int:
    """How many samples there are; a graph's input may have several rows a sample."""
    return len(samples[0]) // graph.values[graph.inputs[0]].rows


def activations(graph: Graph) -> int:
    """Elements of all run-time tensors of one sample."""
    return sum(value.elements for value in graph.values.values() if value.data is None)
