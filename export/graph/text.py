"""A graph as lines of text: the golden form in which passes are shown and tested.

One line for each input, state, constant, node and output, in the graph's own order. Equal text is an equal
graph: every attribute stands there, scales to the bit, and large constants by a hash of their bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from export.graph.bytes import raw_bytes
from export.graph.ir import Graph, Node, Value, View
from qtorch.numbers.qparams import QParams

__all__ = ["text_of"]

#: Constants and scales up to this many stand there in full.
_IN_FULL = 12


def text_of(graph: Graph) -> str:
    """A graph as text, a newline behind every line; the same graph gives the same text on every machine.

    Example, a convolution that is stored with its channels last:

    .. code-block:: text

        input x: int8 (1, 4, 4, 2) scale 0.5 zero -3; of (1, 2, 4, 4) at axes (0, 3, 1, 2)
        constant w: int8 (1, 1, 1, 2) scale 0.25 along 0 = 1 -2
        constant b: int32 (1,) scale 0.125 along 0 = 7
        conv_2d activation='none' dilation_h=1 dilation_w=1 padding='valid' stride_h=1 stride_w=1
            input=x weight=w bias=b
            output=y: int8 (1, 4, 4, 1) scale 1.0 zero 0
        output y: of (1, 1, 4, 4) at axes (0, 3, 1, 2)
    """
    return "".join(f"{line}\n" for line in _lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    computed = set(graph.sources) | {name for node in graph.nodes for name in node.outputs}
    for name in graph.inputs:
        yield f"input {name}: {_type(graph.values[name])}{_view(graph.views.get(name))}"
    for state in graph.states:
        first = _contents(state.first, graph.values[state.value].dtype)
        yield f"state {state.value}: {_type(graph.values[state.value])} first {first}"
    for name, value in graph.values.items():
        if value.data is not None:
            yield f"constant {name}: {_type(value)} = {_contents(value.data, value.dtype)}"
        elif name not in computed:
            yield f"never computed {name}: {_type(value)}"
    for node in graph.nodes:
        yield from _node(graph, node)
    for name in graph.outputs:
        view = _view(graph.views.get(name)).removeprefix("; ")
        yield f"output {name}: {view}" if view else f"output {name}"
    for state in graph.states:
        yield f"state {state.value} becomes {state.after}"


def _node(graph: Graph, node: Node) -> Iterator[str]:
    attrs = (f"{name}={node.attrs[name]!r}" for name in sorted(node.attrs))
    yield " ".join((node.op, *attrs))
    yield "    " + " ".join(f"{role}={name}" for role, name in node.input_roles().items())
    for role, name in node.output_roles().items():
        yield f"    {role}={name}: {_type(graph.values[name])}"


def _type(value: Value) -> str:
    return f"{value.dtype} {value.shape}{_grid(value.qparams)}"


def _grid(qparams: QParams | None) -> str:
    if qparams is None:
        return ""
    scales = np.array(qparams.scale, "<f4")
    said = " ".join(map(str, scales)) if scales.size <= _IN_FULL else f"sha256 {_hash(scales.tobytes())}"
    # Per channel all zero points are 0.
    return f" scale {said}" + (f" zero {qparams.zero_point[0]}" if qparams.axis is None else f" along {qparams.axis}")


def _contents(data: np.ndarray, dtype: str) -> str:
    if data.size > _IN_FULL:
        return f"sha256 {_hash(raw_bytes(data, dtype))}"
    return " ".join(map(str, data.ravel()))


def _view(view: View | None) -> str:
    return "" if view is None else f"; of {view.shape} at axes {view.axes}"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
