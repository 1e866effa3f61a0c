"""Every row's samples through every engine: TFLM against double rounding, LiteRT's reference against single."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.engines import LITERT_REFERENCE, TFLM
from export.interpret import interpret
from export.ir import Graph, MalformedGraph, Node, Value, check
from export.tflite import write_tflite
from export.tflite_reader import read_tflite
from qtorch.fixedpoint import Rounding
from qtorch.ops import ROWS
from qtorch.qparams import QParams
from qtorch.row import Row, Sample

CASES = [pytest.param(row, s, id=f"{row.name}: {s.label}") for row in ROWS.values() for s in row.samples()]


def graph_of(row: Row, sample: Sample) -> Graph:
    values = {}
    for role in row.roles:
        if role in sample.arrays:
            array = sample.arrays[role]
            shape = (1, *array.shape[1:]) if role == "input" else array.shape
            values[role] = Value(shape, sample.qparams[role], None if role == "input" else array)
    inputs = tuple(values)
    values["output"] = Value((1, *sample.output_shape[1:]), sample.qparams["output"])
    return check(Graph(values, (Node(row.name, sample.attrs, inputs, "output"),), ("input",), ("output",)))


@pytest.mark.tflm
@pytest.mark.parametrize(("row", "sample"), CASES)
def test_reference_is_what_tflm_computes(row: Row, sample: Sample) -> None:
    graph = graph_of(row, sample)
    got = TFLM.run(write_tflite(graph), sample.arrays["input"])
    expected = interpret(graph, (sample.arrays["input"],))["output"]
    np.testing.assert_array_equal(got, expected)
    if row.name == "fully_connected" and "multiplier" not in sample.label:
        assert len(np.unique(expected)) > 1, "a sample whose outputs are all alike shows nothing"


@pytest.mark.litert
@pytest.mark.parametrize(("row", "sample"), CASES)
def test_single_rounding_is_what_litert_computes(row: Row, sample: Sample) -> None:
    graph = graph_of(row, sample)
    expected = interpret(graph, (sample.arrays["input"],), Rounding.SINGLE)["output"]
    np.testing.assert_array_equal(LITERT_REFERENCE.run(write_tflite(graph), sample.arrays["input"]), expected)


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_a_file_reads_back_as_it_was_written(row: Row, sample: Sample) -> None:
    graph = graph_of(row, sample)
    found = read_tflite(write_tflite(graph))
    assert [(n.op, n.attrs) for n in found.nodes] == [(n.op, n.attrs) for n in graph.nodes]
    for value, other in zip(graph.values.values(), found.values.values(), strict=True):
        assert (value.shape, value.dtype) == (other.shape, other.dtype)
        assert (value.qparams is None) == (other.qparams is None)
        if value.qparams is not None and other.qparams is not None:
            assert value.qparams.scale == other.qparams.scale
            assert value.qparams.zero_point == other.qparams.zero_point
        if value.data is not None:
            np.testing.assert_array_equal(value.data, other.data)


def test_a_wrong_bias_scale_is_refused() -> None:
    row = ROWS["fully_connected"]
    graph = graph_of(row, next(iter(row.samples())))
    bias = graph.values["bias"]
    assert bias.qparams is not None
    wrong = replace(bias, qparams=replace(bias.qparams, scale=tuple(2 * s for s in bias.qparams.scale)))
    with pytest.raises(MalformedGraph, match="bias"):
        check(replace(graph, values={**graph.values, "bias": wrong}))


def test_constants_are_aligned() -> None:
    row = ROWS["fully_connected"]
    for sample in row.samples():
        model = write_tflite(graph_of(row, sample))
        for role in ("weight", "bias"):
            if role in sample.arrays and sample.arrays[role].nbytes >= 16:
                assert model.index(sample.arrays[role].tobytes()) % 16 == 0


def test_an_int32_overflow_is_refused() -> None:
    row = ROWS["fully_connected"]
    one = QParams((1.0,), (0,))
    arrays = {"input": np.full((1, 1), 127, np.int8), "weight": np.full((1, 1), 127, np.int8)}
    arrays["bias"] = np.full((1,), 2**31 - 1, np.int32)
    qparams = {"input": one, "weight": one, "bias": QParams((1.0,), (0,), "int32"), "output": one}
    graph = graph_of(row, Sample("overflow", {"activation": "none"}, arrays, qparams, (1, 1)))
    with pytest.raises(OverflowError, match="accumulator"):
        interpret(graph, (arrays["input"],))
