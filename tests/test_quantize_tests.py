"""``qtorch quantize`` finds what to test on, and says where it is from, what it is, or how to name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from export.commands.quantize import quantize_command
from qtorch.lightning.cli import run_command
from tests.float_networks import Net, X, Y

HERE = "tests.float_networks"


def test_a_data_module_is_tested_on_its_own_test_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    net = Net().eval()
    torch.save(net, tmp_path / "net.pt")
    np.savez(tmp_path / "data.npz", x=X.numpy(), y=Y.numpy())

    def said(*words: object) -> tuple[str, Any]:
        line = [str(tmp_path / "net.pt"), "--out", str(tmp_path / "out"), *map(str, words)]
        assert run_command(lambda: quantize_command(line)) == 0
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        return " ".join(capsys.readouterr().out.split()), metrics

    page, metrics = said("--data", f"{HERE}.Data")
    assert f"tested on the test part of {HERE}.Data" in page
    assert metrics["test"]["float"]["mse"] == pytest.approx(float(mse_loss(net(X[100:]), Y[100:]).detach()), rel=1e-4)
    page, metrics = said("--data", tmp_path / "data.npz")
    assert "--test DATA" in metrics["left_out"]["test"]
    assert "--test DATA" in page
    page, _ = said("--data", tmp_path / "data.npz", "--test", tmp_path / "." / "data.npz")
    assert "the test data are the calibration data" in page
    page, _ = said("--data", f"{HERE}.Data", "--test", f"{HERE}.Data")
    assert "the test data are the calibration data" not in page
