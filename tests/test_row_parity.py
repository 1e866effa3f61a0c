"""The judge of a row: it agrees with rows that are right, and names what is wrong with one that is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from export.rows import report, row_parity
from qtorch.errors import BadConfiguration, ParityError
from qtorch.ops import ROWS
from qtorch.row.kernel_call import KernelCall, TensorArgument
from qtorch.row.onnx_form import OnnxNode
from qtorch.row.row import Row, Sample, Unsupported

pytestmark = [pytest.mark.tflm, pytest.mark.onnx]

ROW = ROWS["rsqrt"]
#: The sample that the others are tried on: one is enough, and quick.
FIRST = replace(ROW, samples=lambda: [next(iter(ROW.samples()))])


def test_a_right_row_is_counted() -> None:
    found = row_parity(FIRST)
    assert (found.row, found.samples, found.left_out) == ("rsqrt", 1, {})
    assert found.compared == {
        "float function": 256, "file": 2, "TFLite Micro": 512, "LiteRT": 256, "plain C": 256, "ONNX Runtime": 256,
    }  # fmt: skip
    assert str(found).splitlines()[:2] == ["rsqrt: 1 samples", "  float function: 256 compared, all agree"]


def off_by_one(*arguments: Any) -> torch.Tensor:
    codes: torch.Tensor = ROW.reference(*arguments)
    return torch.where(codes == codes.max(), codes - 1, codes)


def early(operands: Any) -> KernelCall:
    arguments = {"in": TensorArgument("input"), "out": TensorArgument("output"), "size": operands.size("output")}
    text = "static inline void copied_s8(const int8_t *in, int8_t *out, int32_t size) {\n"
    text += "  for (int32_t i = 0; i < size; ++i) out[i] = in[i];\n}\n"
    return KernelCall("copied_s8", arguments, text=text)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"forward": lambda attrs, x: torch.rsqrt(x["input"]) / 1.2}, "the float function gives .* steps apart"),
        ({"forward": lambda attrs, x: torch.rsqrt(x["input"])[:1]}, r"the float function has shape \(1, 32\)"),
        ({"reference": off_by_one}, "TFLite Micro gives 127 at output.*, the integer reference 126; .* by up to 1"),
        ({"c": early}, "plain C gives -128 at output"),
        ({"onnx": replace(ROW.onnx, form=lambda operands: [OnnxNode("Sqrt", ("input",))])}, "ONNX Runtime gives"),  # type: ignore[arg-type]
        ({"tflite": replace(ROW.tflite, version=lambda qparams: 99)}, "litert.* does not run it: .* version .99"),  # type: ignore[arg-type]
    ],
    ids=["forward", "shape", "reference", "c", "onnx", "version"],
)  # fmt: skip
def test_a_wrong_cell_is_found(cells: dict[str, Any], words: str) -> None:
    before = dict(ROWS)
    with pytest.raises(ParityError, match=f"row 'rsqrt', sample 'int8 .*': {words}"):
        row_parity(replace(FIRST, **cells))
    assert dict(ROWS) == before


def test_a_sample_that_shows_nothing_is_found() -> None:
    sample = next(iter(ROW.samples()))

    def samples() -> Iterable[Sample]:
        yield replace(sample, arrays={"input": np.full((1, 4), 5, np.int8)})

    with pytest.raises(ParityError, match=r"output is .* throughout, which shows nothing"):
        row_parity(replace(ROW, samples=samples))


def test_what_is_not_there_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "missing", lambda *packages: packages)
    monkeypatch.setattr(report, "c_compiler", lambda: None)
    found = row_parity(FIRST)
    assert found.left_out.keys() == {"plain C", "ONNX Runtime"}
    assert "onnx is not installed" in found.left_out["ONNX Runtime"]
    cells = replace(FIRST, c=Unsupported("not written"), onnx=Unsupported("nor this"))
    assert row_parity(cells).left_out == {"plain C": "not written", "ONNX Runtime": "nor this"}


def test_a_row_that_could_not_be_registered_is_refused() -> None:
    row: Row = replace(ROW, name="root", matches=())
    with pytest.raises(BadConfiguration, match=r"got RSQRT, which rsqrt of qtorch\.ops writes"):
        row_parity(row)
    assert "root" not in ROWS
