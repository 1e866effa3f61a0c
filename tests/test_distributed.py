"""Two processes that train together come to one network, and to a single process's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from export.bundle import proof
from export.pipeline import main
from qtorch.packed_state import unpacked
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from tests.conftest import FUEL_CONFIG
from tests.warm_python import warm_python

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.tflm


OPTIONS = {
    "moving average": ("--qat.observer", "moving_average:0.9"),
    "learned": ("--qat.scales", "lsq+"),
    "histogram": ("--qat.observer", "mse"),
}


def train(folder: Path, name: str, *arguments: str) -> int:
    """The fuel recipe on rows that fill every batch, so that one process and two see the same."""
    (folder / name).mkdir(exist_ok=True)
    return main(FuelConsumption, FuelData, FUEL_CONFIG, [
        "--out", str(folder / name / "out"), "--trainer.enable_progress_bar", "false",
        "--data.rows", "320", "--trainer.max_epochs", "4",
        "--qat.start", "2", "--qat.freeze_observers", "3", "--qat.freeze_batch_norm", "null",
        "--trainer.callbacks", "tests.small_task.SaveEveryRank", "--trainer.callbacks.folder", str(folder / name),
        *OPTIONS[name], *arguments,
    ])  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each of the options, trained by one process and by two, which Lightning starts as it does a script's.

    They begin once and train one after another: to import everything takes longer than to train.
    """
    folder = tmp_path_factory.mktemp("runs")
    for words in (["alone"], ["ddp", "--trainer.strategy", "ddp", "--trainer.devices", "2"]):
        done = warm_python(["-W", "ignore", "-m", "tests.test_distributed", str(folder), *words[1:]], ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        for name in OPTIONS:
            (folder / name / "out" / "fuel.tflite").rename(folder / name / f"{words[0]}.tflite")
    return folder


def numbers(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Every tensor of a state dict, those in a module's extra state included."""
    found = {}
    for name, entry in state.items():
        value = unpacked(entry) if name.endswith("_extra_state") else entry
        for key, tensor in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(tensor, torch.Tensor):
                found[f"{name}.{key}"] = tensor
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_ranks_agree_with_each_other_and_with_one_process(name: str, trained: Path) -> None:
    alone, first, second = (
        numbers(torch.load(trained / name / f"{rank}.pt", weights_only=True))
        for rank in ("rank0of1", "rank0of2", "rank1of2")
    )
    assert alone.keys() == first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        if "histogram" not in key:
            torch.testing.assert_close(value.double(), alone[key].double(), rtol=2e-3, atol=2e-3, msg=key)


if __name__ == "__main__":
    # What is exported is compared elsewhere.
    proof._RANDOM_INPUTS //= 10
    sys.exit(max(train(Path(sys.argv[1]), name, *sys.argv[2:]) for name in OPTIONS))
