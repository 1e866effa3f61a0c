"""States that a file can have as variable tensors, which an operator changes where they lie."""

from __future__ import annotations

import math

import numpy as np

from export.graph.ir import Graph, State
from qtorch.errors import UnsupportedLayer

__all__ = ["first_contents", "variable_tensors"]

_REMEDY = "keep the file as it is, or take the plain C, which has states of any kind"


def first_contents(
    dtype: str, shape: tuple[int, ...], zero_point: tuple[int, ...], *, resource: bool = False
) -> np.ndarray:
    """What TFLM fills a variable with before the first run: codes.

    Args:
        dtype: of the variable, or of the first tensor that is assigned to it.
        shape: likewise.
        zero_point: likewise; empty without quantization.
        resource: whether it is a resource variable: then the zero point counts for every type, as a byte.
    """
    zero = zero_point[0] if zero_point and (resource or dtype == "int8") else 0
    filled = np.full(math.prod(shape) * np.dtype(dtype).itemsize, zero & 0xFF, np.uint8)
    return filled.view(dtype).reshape(shape)


def variable_tensors(graph: Graph) -> dict[str, str]:
    """By each state's value, what it is after a run: a variable tensor of the file, and the same one again.

    Raises:
        UnsupportedLayer: a state that is not one operator's own, or begins otherwise than TFLM fills such a tensor.
    """
    return {state.value: _own(graph, state) for state in graph.states}


def _own(graph: Graph, state: State) -> str:
    reads = [(node, role) for node in graph.nodes for role, name in node.input_roles().items() if name == state.value]
    others = [node for node in graph.nodes if state.after in node.inputs]
    node, role = reads[0] if reads else (None, "")
    own = node is not None and node.output_roles().get(f"next_{role}") == state.after
    if len(reads) != 1 or not own or others or {state.value, state.after} & set(graph.outputs):
        raise UnsupportedLayer(
            where=f"state {state.value!r}",
            expected="states that one operator alone reads and replaces, for a .tflite file",
            got=f"{len(reads)} operators that read it, and {state.after!r} afterwards",
            remedy=_REMEDY,
        )
    value = graph.values[state.value]
    zero_point = () if value.qparams is None else value.qparams.zero_point
    if (first_contents(value.array_dtype, value.shape, zero_point) != state.first).any():
        raise UnsupportedLayer(
            where=f"state {state.value!r}",
            expected="zeros before the first run, with which TFLite Micro fills a variable tensor",
            got="other codes",
            remedy=_REMEDY,
        )
    return state.after
