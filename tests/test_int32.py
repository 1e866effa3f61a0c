"""Rows on int32: whole numbers, with wraps and activations, and codes of 32 bits, as TFLM and C compute them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from export.rows import require_file, require_tflm
from export.rows.judges import c_library, c_samples, require_c
from qtorch.families.whole_numbers import whole_samples
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.ops import ROWS
from qtorch.row.row import Row, Sample

pytestmark = pytest.mark.usefixtures("one_thread")

_NUMBERS = np.random.default_rng(0).integers(-(2**31), 2**31, (2, 3, 4, 5)).astype(np.int32)


def _moved(label: str, attrs: dict[str, Any], **arrays: np.ndarray) -> Sample:
    return Sample(
        label, attrs, arrays or {"input": _NUMBERS}, dict.fromkeys((*(arrays or ("input",)), "output"), INDICES)
    )


def _requantized() -> Iterable[Sample]:
    """QUANTIZE with 32 bits on either side, and zero points beside 16 and 32 bits, as keyword spotters end."""
    for source, sink, s_in, s_out, zero_points in [
        ("int16", "int32", 1.5259022e-5, 3.051851e-5, (-(2**15), 0)),
        ("int16", "int32", 4.943124e-4, 1.49011612e-7, (0, 5)),
        ("int8", "int32", 0.02, 1e-5, (-128, -7)),
        ("int32", "int16", 1.49011612e-7, 9.219714e-4, (0, 0)),
        ("int32", "int16", 1.49011612e-7, 9.219714e-4, (3, -(2**15))),
        ("int32", "int8", 1e-7, 0.3, (-99, 100)),
    ]:
        grids = [
            QParams((float(np.float32(scale)),), (zero_point,), dtype)
            for dtype, scale, zero_point in ((source, s_in, zero_points[0]), (sink, s_out, zero_points[1]))
        ]
        low, high = CODE_RANGE[source] if source != "int32" else (-(2**28), 2**28)
        codes = np.linspace(low, high, 1024).astype(source).reshape(8, 128)
        label = f"{source} to {sink}, {s_in}@{zero_points[0]} to {s_out}@{zero_points[1]}"
        yield Sample(label, {}, {"input": codes}, {"input": grids[0], "output": grids[1]})


def samples_of(op: str) -> Iterable[Sample]:
    """Two operands with every activation that the op has; what moves numbers, one way each."""
    if op in ("add", "sub", "mul"):
        for activation in ("none", "relu", "relu6"):
            for sample in whole_samples(3, {"activation": activation}):
                yield replace(sample, label=f"{sample.label}, {activation}")
    elif op == "div":
        for sample in whole_samples(5, {"activation": "none"}):
            if "other" in sample.constants:
                yield replace(
                    sample, arrays={**sample.arrays, "other": np.array([[[[3, -7, 1, -1, 12345]]]], np.int32)}
                )
    elif op in ("maximum", "minimum"):
        yield from whole_samples(4, {})
    elif op == "concatenation":
        yield _moved("alike", {"axis": 2}, input_0=_NUMBERS, input_1=_NUMBERS[:, :, :2])
    elif op == "pad":
        yield _moved("alike", {"paddings": ((0, 0), (1, 0), (0, 2), (0, 0))})
    elif op == "quantize":
        yield from _requantized()
    elif op == "split":
        grids = dict.fromkeys(("input", "output_0", "output_1"), INDICES)
        yield Sample("alike", {"axis": 2, "num_splits": 2}, {"input": _NUMBERS}, grids)
    elif op == "reverse_v2":
        yield _moved("alike", {"axes": (1,)})


OPERATIONS = (
    "add",
    "sub",
    "mul",
    "div",
    "maximum",
    "minimum",
    "concatenation",
    "pad",
    "reverse_v2",
    "split",
    "quantize",
)
CASES = [pytest.param(ROWS[op], sample, id=f"{op}: {sample.label}") for op in OPERATIONS for sample in samples_of(op)]


@pytest.mark.tflm
@pytest.mark.parametrize(("row", "sample"), CASES)
def test_tflm_computes_the_same(row: Row, sample: Sample) -> None:
    assert require_tflm(row, sample) > 0
    assert require_tflm(row, sample, at_once=True) > 0
    assert require_file(row, sample) > 0


@pytest.mark.parametrize("op", OPERATIONS)
def test_compiled_c_computes_the_same(op: str) -> None:
    row = replace(ROWS[op], samples=lambda: samples_of(op))
    written, missing = c_samples(row)
    assert not missing
    assert require_c(row, written, c_library(written)) > 0
