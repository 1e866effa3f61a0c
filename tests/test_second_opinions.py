"""What happens where a package that gives second opinions is absent: said before training, with the remedy."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest

from export import optional_packages as second_opinions
from export.options import ExportOptions
from qtorch.errors import BadConfiguration
from tests.conftest import run_fuel


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if none of them were installed."""

    def found(name: str) -> ModuleSpec | None:
        return None if name in second_opinions.EXTRAS else find_spec(name)

    monkeypatch.setattr(second_opinions, "find_spec", found)


@pytest.mark.usefixtures("without")
def test_an_option_that_needs_one_says_so() -> None:
    with pytest.raises(
        BadConfiguration, match=r'export.onnx: expected the package onnx.*pip install "qtorch-tflm\[onnx\]"'
    ):
        ExportOptions(onnx=True)
    for package in (second_opinions.onnx_package, second_opinions.onnxruntime_package):
        with pytest.raises(BadConfiguration, match=r'pip install "qtorch-tflm\[onnx\]"'):
            package()


@pytest.mark.usefixtures("without")
def test_before_training(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_fuel("--out", tmp_path / "out", "--export.onnx", "true") == 2
    found = capsys.readouterr()
    assert 'Remedy: pip install "qtorch-tflm[onnx]".' in found.err
    assert list(tmp_path.iterdir()) == []
