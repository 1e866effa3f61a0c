"""``qtorch quantize`` judges as the call does, and speaks of its own options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.command_line import main

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((300, 3)).astype(np.float32)
Y = X[:, :1] * 2 + X[:, 1:2]
IMAGES = RANDOM.standard_normal((300, 1, 8, 8)).astype(np.float32)


def written(folder: Path, name: str, x: Any, y: Any) -> str:
    np.savez(folder / name, x=x, y=y)
    return str(folder / name)


@pytest.mark.tflm
def test_targets_beside_calibration_give_a_baseline(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), tmp_path / "net.pt")
    words = ["quantize", str(tmp_path / "net.pt"), "--data", written(tmp_path, "train.npz", X[:200], Y[:200])]
    words += ["--test", written(tmp_path, "test.npz", X[200:], Y[200:]), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["test"]["linear_regression"]["mse"] < 1e-9
    assert "linear regression" in {each["against"] for each in metrics["verdict"]["comparisons"]}
    assert list(metrics["test"])[-1] == "post_training_int8"


WRONG: dict[str, tuple[Any, Any, Any, Any, str]] = {
    "a target that is none": (X, Y, X, Y * np.nan, "--test: expected finite numbers, got nan as that of sample 0"),
    "targets of another count": (X, Y[:5], X, Y, "--data: expected 300, one for each sample of --data, got 5"),
    "one class too many": (IMAGES, None, IMAGES, np.full(300, 3), "--test: expected classes from 0 to 2"),
    "images of another size": (
        IMAGES, None, IMAGES[..., :6, :6], np.zeros(300, np.int64),
        "--test: expected samples of the shape of those in --data",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_refusal_names_the_option(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y, x_test, y_test, said = WRONG[wrong]
    flat = nn.Sequential(nn.Linear(3, 1))
    images = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    torch.save(flat if x is X else images, tmp_path / "net.pt")
    np.save(tmp_path / "x.npy", x)
    data = str(tmp_path / "x.npy") if y is None else written(tmp_path, "train.npz", x, y)
    words = ["quantize", str(tmp_path / "net.pt"), "--data", data]
    words += ["--test", written(tmp_path, "test.npz", x_test, y_test), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
