"""The operator that docs/add_an_operator.md writes: right, and with samples that tell it from one that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.rows import row_parity
from qtorch.errors import ParityError
from qtorch.row.row import Row
from tests.test_docs import blocks

PAGE = Path(__file__).parents[1] / "docs" / "add_an_operator.md"
DOUBLE = "source.scale.to(torch.float64) / output.scale.to(torch.float64)"
FLOAT32 = "(source.scale / output.scale).to(torch.float64)"


def row_of(text: str) -> Row:
    namespace: dict[str, Any] = {"__name__": "written_abs"}
    exec(compile(text, str(PAGE), "exec", dont_inherit=True), namespace)
    row = namespace["ROW"]
    assert isinstance(row, Row)
    return row


def failing(row: Row) -> list[str]:
    """Labels of the samples on which TFLite Micro computes something else."""
    return [sample.label for sample in row.samples() if not is_right(replace(row, samples=lambda one=sample: [one]))]


def is_right(row: Row) -> bool:
    try:
        row_parity(row)
    except ParityError as error:
        if "TFLite Micro gives " in str(error):
            return False
        raise
    return True


@pytest.mark.tflm
def test_its_samples_tell_a_quotient_in_float32_from_one_in_double() -> None:
    text = next(block.text for block in blocks(PAGE) if block.text.startswith("# save as qtorch/ops/abs.py"))
    assert DOUBLE in text
    assert failing(row_of(text)) == []
    assert len(failing(row_of(text.replace(DOUBLE, FLOAT32)))) == 2
