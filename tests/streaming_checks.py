"""What tests of states share: sequences in TFLM and the reference, a graph with a state, files changed by hand."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.c.compiled import c_compiler
from export.engines import TFLM
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph, Node, State, Value, check
from export.tflite.contents import read_contents
from export.tflite.file_data import FileOperator
from export.tflite.writer import write_tflite
from qtorch.numbers.qparams import QParams

__all__ = [
    "RUNS",
    "SEQUENCES",
    "counter",
    "edited",
    "needs_compiler",
    "needs_tflm",
    "of_reference",
    "of_tflm",
    "operators",
    "require_equal",
]

needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")
needs_tflm = pytest.mark.skipif(bool(TFLM.absent()), reason="TFLite Micro's Python package is absent")

#: Runs of a sequence, and how many sequences begin anew.
RUNS, SEQUENCES = 20, 3


def of_tflm(model: bytes, inputs: tuple[np.ndarray, ...], sequences: int) -> tuple[np.ndarray, ...]:
    """Outputs of an interpreter for each sequence, made for it."""
    cut = [np.split(array, sequences) for array in inputs]
    parts = [TFLM.run(model, each) for each in zip(*cut, strict=True)]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


def of_reference(graph: Graph, inputs: tuple[np.ndarray, ...], sequences: int = SEQUENCES) -> tuple[np.ndarray, ...]:
    computed = interpret_sequence(graph, inputs, sequences=sequences)
    return tuple(computed[name] for name in graph.outputs)


def require_equal(got: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def operators(model: bytes) -> tuple[FileOperator, ...]:
    """Of the first subgraph."""
    return read_contents(model).subgraphs[0].operators


def counter(first: int = 5) -> Graph:
    """The sum of all inputs so far, saturating."""
    grid = QParams((1.0,), (0,))
    values = {name: Value((1, 1), grid) for name in ("x", "sum", "next")}
    nodes = (Node("add", {"activation": "none"}, ("x", "sum"), ("next",)),)
    return check(
        Graph(values, nodes, ("x",), ("next",), states=(State("sum", "next", np.full((1, 1), first, np.int8)),))
    )


def edited(graph: Graph, edit: Any) -> bytes:
    """A graph's file, changed by a function of its object form."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(write_tflite(graph))))
    edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
