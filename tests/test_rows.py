"""Every row's samples through every engine: TFLM against double rounding, LiteRT's reference against single."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from export.engines import LITERT_REFERENCE, TFLM
from export.graph.bytes import raw_bytes
from export.graph.ir import Graph, MalformedGraph, Node, Value, check
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Row, Sample

CASES = [pytest.param(row, s, id=f"{row.name}: {s.label}") for row in ROWS.values() for s in row.samples()]


def graph_of(row: Row, sample: Sample, batch: int = 1) -> Graph:
    """The graph of one op, for ``batch`` samples at a time."""
    values = {}
    roles = [role for role in row.input_roles(len(sample.arrays)) if role in sample.arrays]
    fixed = sample.constants | set(() if row.variadic else row.roles[row.runtime :])
    for role in roles:
        array = sample.arrays[role]
        shape = array.shape if role in fixed else (batch, *array.shape[1:])
        values[role] = Value(shape, sample.qparams[role], array if role in fixed else None)
    outputs = [role for role in sample.qparams if role.startswith("output")]
    for role, array in zip(outputs, run_reference(row, sample), strict=True):
        values[role] = Value((batch, *array.shape[1:]), sample.qparams[role])
    node = Node(row.name, sample.attrs, tuple(roles), tuple(outputs))
    runtime = tuple(role for role in roles if role not in fixed)
    return check(Graph(values, (node,), runtime, node.outputs))


def run_reference(row: Row, sample: Sample, rounding: Rounding = Rounding.DOUBLE) -> tuple[np.ndarray, ...]:
    """The outputs' codes for the sample's batch."""
    codes = {
        role: torch.from_numpy(a if a.dtype == np.float32 else a.astype(np.int64)) for role, a in sample.arrays.items()
    }
    grids = {role: q.grid for role, q in sample.qparams.items() if q is not None}
    found = row.reference(sample.attrs, codes, grids, rounding)
    return tuple(t.numpy() for t in ((found,) if isinstance(found, Tensor) else found))


def batch_of(row: Row, sample: Sample) -> int:
    """How many samples the case has."""
    return len(next(array for role, array in sample.arrays.items() if role not in sample.constants))


def runtime_arrays(graph: Graph, sample: Sample) -> tuple[np.ndarray, ...]:
    return tuple(sample.arrays[role] for role in graph.inputs)


@pytest.mark.tflm
@pytest.mark.parametrize(("row", "sample"), CASES)
@pytest.mark.parametrize("batch", ["one by one", "at once"])
def test_reference_is_what_tflm_computes(row: Row, sample: Sample, batch: str) -> None:
    graph = graph_of(row, sample, 1 if batch == "one by one" else batch_of(row, sample))
    got = TFLM.run(write_tflite(graph), runtime_arrays(graph, sample))
    for role, expected, outcome in zip(graph.outputs, run_reference(row, sample), got, strict=True):
        np.testing.assert_array_equal(outcome, expected)
        if "alike" not in sample.label:
            assert len(np.unique(expected)) > 1, f"{role}: a sample whose outputs are all alike shows nothing"


@pytest.mark.litert
@pytest.mark.parametrize(("row", "sample"), CASES)
def test_single_rounding_is_what_litert_computes(row: Row, sample: Sample) -> None:
    """Exactly, or within what the row declares."""
    if "TFLM alone" in sample.label:
        pytest.skip("LiteRT's kernels compute something else here")
    graph = graph_of(row, sample)
    got = LITERT_REFERENCE.run(write_tflite(graph), runtime_arrays(graph, sample))
    for expected, outcome in zip(run_reference(row, sample, Rounding.SINGLE), got, strict=True):
        allowed = row.litert_lsb.get(outcome.dtype.name, 0)
        np.testing.assert_allclose(outcome.astype(np.float64), expected, rtol=0, atol=allowed)


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
    qparams = bias.quantization
    wrong = replace(bias, qparams=replace(qparams, scale=tuple(2 * s for s in qparams.scale)))
    with pytest.raises(MalformedGraph, match="bias"):
        check(replace(graph, values={**graph.values, "bias": wrong}))


def test_constants_are_aligned() -> None:
    row = ROWS["fully_connected"]
    for sample in row.samples():
        model = write_tflite(graph_of(row, sample))
        for role in ("weight", "bias"):
            qparams = sample.qparams.get(role)
            if role in sample.arrays and sample.arrays[role].nbytes >= 32 and qparams is not None:
                assert model.index(raw_bytes(sample.arrays[role], qparams.dtype)) % 16 == 0


def test_an_int32_overflow_is_refused() -> None:
    row = ROWS["fully_connected"]
    one = QParams((1.0,), (0,))
    arrays = {"input": np.full((1, 1), 127, np.int8), "weight": np.full((1, 1), 127, np.int8)}
    arrays["bias"] = np.full((1,), 2**31 - 1, np.int32)
    qparams = {"input": one, "weight": one, "bias": QParams((1.0,), (0,), "int32"), "output": one}
    sample = Sample("overflow", {"activation": "none", "keep_num_dims": False}, arrays, qparams)
    with pytest.raises(OverflowError, match="accumulator"):
        run_reference(row, sample)
