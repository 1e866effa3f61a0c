"""What ``qtorch fit`` says before data are loaded, or before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from export.command_line import main
from tests.plain_lightning import Plain, PlainData

HERE = "tests.test_before_a_fit"


class Nameless(Plain):
    test_step = pl.LightningModule.test_step

    def __init__(self, known: bool = False) -> None:
        super().__init__()
        self.example_input_array = self.example_input_array if known else None

    def on_train_start(self) -> None:
        raise ValueError("training has begun")


class Slow(PlainData):
    def setup(self, stage: Any) -> None:
        raise AssertionError("data were loaded")


def test_a_network_without_an_example_is_refused_before_data_are_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model", f"{HERE}.Nameless", "--data", f"{HERE}.Slow"]) == 2
    assert "Nameless.example_input_array: expected a tensor" in capsys.readouterr().err


def test_figures_that_there_will_not_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = f"fit --model {HERE}.Nameless --model.known true --data tests.plain_lightning.PlainData --out".split()
    with pytest.raises(ValueError, match="training has begun"):
        main([*words, str(tmp_path / "out")])
    assert "no test figures: Nameless has no test_step; write a test_step" in caplog.text
