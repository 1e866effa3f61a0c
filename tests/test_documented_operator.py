"""The operator that docs/add_an_operator.md writes: right, and with samples that tell it from one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.engines import TFLM
from export.tflite.writer import write_tflite
from qtorch.ops import ROWS
from qtorch.row.row import Row
from tests.test_docs import blocks
from tests.test_rows import graph_of, run_reference

PAGE = Path(__file__).parents[1] / "docs" / "add_an_operator.md"
DOUBLE = "source.scale.to(torch.float64) / output.scale.to(torch.float64)"
FLOAT32 = "(source.scale / output.scale).to(torch.float64)"


def row_of(text: str) -> Row:
    namespace: dict[str, Any] = {"__name__": "written_abs"}
    exec(compile(text, str(PAGE), "exec", dont_inherit=True), namespace)
    row = namespace["ROW"]
    assert isinstance(row, Row)
    return row


def failing(row: Row, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of the samples on which TFLite Micro computes something else."""
    monkeypatch.setitem(ROWS, row.name, row)
    found = []
    for sample in row.samples():
        outcome = TFLM.run(write_tflite(graph_of(row, sample)), tuple(sample.arrays.values()))[0]
        if not np.array_equal(outcome, run_reference(row, sample)[0]):
            found.append(sample.label)
    return found


@pytest.mark.tflm
def test_its_samples_tell_a_quotient_in_float32_from_one_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    text = next(block.text for block in blocks(PAGE) if block.text.startswith("# save as qtorch/ops/abs.py"))
    assert DOUBLE in text
    assert failing(row_of(text), monkeypatch) == []
    assert len(failing(row_of(text.replace(DOUBLE, FLOAT32)), monkeypatch)) == 2
