"""An export that computes other integers is refused, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

import export
from qtorch.errors import ParityError
from qtorch.numbers.fixedpoint import Multiplier, quantize_multiplier
from tests.test_export_network import X, Y, prepared


@pytest.mark.tflm
def test_an_export_that_differs_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in its folders, nor where it works, nor among temporary files."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    def wrong(real: Tensor) -> Multiplier:
        mantissa, shift = quantize_multiplier(real)
        return Multiplier(mantissa, shift + 1)

    monkeypatch.setattr("qtorch.families.accumulator.quantize_multiplier", wrong)
    for out in (None, "build/out"):
        with pytest.raises(ParityError, match="differ"):
            export.export_network(prepared(), out, name="small", calibration=X, test=(X, Y), target="uno", onnx=False)
    assert [*tmp_path.rglob("*")] == [tmp_path / "temporary"]
