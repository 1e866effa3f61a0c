"""Two processes that train together come to one network, and to a single process's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.tflm


def train(folder: Path, *arguments: str) -> Path:
    """The fuel recipe on rows that fill every batch, so that one process and two see the same."""
    folder.mkdir(exist_ok=True)
    command = [
        sys.executable, "-W", "ignore", "-m", "recipes.fuel_qat", "--out", str(folder / "out"),
        "--data.rows", "320", "--trainer.max_epochs", "4", "--trainer.enable_progress_bar", "false",
        "--qat.start", "2", "--qat.freeze_observers", "3", "--qat.freeze_batch_norm", "null",
        "--trainer.callbacks", "tests.small_task.SaveEveryRank", "--trainer.callbacks.folder", str(folder), *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def numbers(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Every tensor of a state dict, those in a module's extra state included."""
    found = {}
    for name, value in state.items():
        for key, tensor in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(tensor, torch.Tensor):
                found[f"{name}.{key}"] = tensor
    return found


@pytest.mark.parametrize(
    "options",
    [("--qat.observer", "moving_average:0.9"), ("--qat.scales", "lsq+"), ("--qat.observer", "mse")],
    ids=["moving average", "learned", "histogram"],
)
def test_ranks_agree_with_each_other_and_with_one_process(tmp_path: Path, options: tuple[str, ...]) -> None:
    folder = tmp_path / "runs"
    train(folder, *options)
    train(folder, *options, "--trainer.strategy", "ddp", "--trainer.devices", "2")
    alone, first, second = (
        numbers(torch.load(folder / f"{name}.pt", weights_only=True)) for name in ("rank0of1", "rank0of2", "rank1of2")
    )
    assert (folder / "out" / "fuel.tflite").exists()
    assert alone.keys() == first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        if "histogram" not in name:
            torch.testing.assert_close(value.double(), alone[name].double(), rtol=2e-3, atol=2e-3, msg=name)
