"""Every row's samples through every engine: TFLM against double rounding, LiteRT's reference against single."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from export.graph.bytes import raw_bytes
from export.graph.ir import MalformedGraph, check
from export.rows import (
    reference_outputs,
    require_file,
    require_float,
    require_litert,
    require_tflm,
    sample_graph,
)
from export.tflite.writer import write_tflite
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Row, Sample

CASES = [pytest.param(row, s, id=f"{row.name}: {s.label}") for row in ROWS.values() for s in row.samples()]


@pytest.mark.tflm
@pytest.mark.parametrize(("row", "sample"), CASES)
@pytest.mark.parametrize("batch", ["one by one", "at once"])
def test_reference_is_what_tflm_computes(row: Row, sample: Sample, batch: str) -> None:
    assert require_tflm(row, sample, at_once=batch == "at once") > 0


@pytest.mark.litert
@pytest.mark.parametrize(("row", "sample"), CASES)
def test_single_rounding_is_what_litert_computes(row: Row, sample: Sample) -> None:
    """Exactly, or within what the row declares."""
    if "TFLM alone" in sample.label:
        pytest.skip("LiteRT's kernels compute something else here")
    assert require_litert(row, sample) > 0


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_a_file_reads_back_as_it_was_written(row: Row, sample: Sample) -> None:
    assert require_file(row, sample) > 1


@pytest.mark.parametrize(("row", "sample"), CASES)
def test_the_float_function_is_within_a_step(row: Row, sample: Sample) -> None:
    if not {"TFLM alone", "cancelled", "no float form"}.isdisjoint(re.split(", |; ", sample.label)):
        pytest.skip("its label says why not")
    integers = [q for role, q in sample.qparams.items() if role.startswith("output") and q is not None]
    assert (require_float(row, sample) > 0) == any(q.dtype == "int8" for q in integers)


def test_a_wrong_bias_scale_is_refused() -> None:
    row = ROWS["fully_connected"]
    graph = sample_graph(row, next(iter(row.samples())))
    bias = graph.values["bias"]
    qparams = bias.quantization
    wrong = replace(bias, qparams=replace(qparams, scale=tuple(2 * s for s in qparams.scale)))
    with pytest.raises(MalformedGraph, match="bias"):
        check(replace(graph, values={**graph.values, "bias": wrong}))


def test_constants_are_aligned() -> None:
    row = ROWS["fully_connected"]
    for sample in row.samples():
        model = write_tflite(sample_graph(row, sample))
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
        reference_outputs(row, sample)
