"""A run that is killed and goes on ends as one that was not; so does one that goes on from the middle of an epoch."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.memory_loader import MemoryLoader
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from tests.small_task import EPOCHS, SmallData, SmallModule, small_trainer
from tests.warm_python import warm_python

ROOT = Path(__file__).parents[1]


def training(folder: Path, *kill: int) -> list[str]:
    """Python's arguments."""
    folder.mkdir(exist_ok=True)
    return ["-W", "ignore", "-m", "tests.small_task", str(folder), *map(str, kill)]


def train(folder: Path, *kill: int) -> int:
    return warm_python(training(folder, *kill), ROOT).returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a Python of its own: that strings hash otherwise must not matter either."""
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run([sys.executable, *training(folder)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder


# In float training, in the epoch that calibrates, while ranges follow, with batch norms frozen, in the last batch.
@pytest.mark.parametrize("kill", [((1, 2),), ((3, 0),), ((4, 5), (4, 3), (6, 1)), ((EPOCHS - 1, 5),)])
def test_a_killed_run_ends_as_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path, kill: tuple[tuple[int, int], ...]
) -> None:
    folder = tmp_path / "killed"
    for at in kill:
        assert train(folder, *at) == -signal.SIGKILL
        assert not (folder / "model.tflite").exists()
    assert train(folder) == 0
    assert (folder / "model.tflite").read_bytes() == (uninterrupted / "model.tflite").read_bytes()
    expected, got = (torch.load(f / "weights.pt", weights_only=True) for f in (uninterrupted, folder))
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, got[name]), name
        else:
            assert str(value) == str(got[name]), name


class MemoryData(SmallData):
    """From a loader that can go on in the middle of an epoch."""

    def train_dataloader(self) -> Any:
        return MemoryLoader(self.rows.tensors, self.batch_size, shuffle=True, seed=3)


def phases() -> QuantizationAwareTraining:
    return QuantizationAwareTraining(start=3, freeze_observers=5, freeze_batch_norm=6, observer="moving_average:0.9")


# Batches to a step, and how many steps lie between checkpoints: within epochs of 6 batches, and behind their last.
@pytest.mark.parametrize(("accumulate", "every"), [(1, 5), (1, 6), (4, 1)])
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*callbacks used to create.*")
def test_a_run_goes_on_from_the_middle_of_an_epoch(
    tmp_path: Path, one_thread: None, accumulate: int, every: int
) -> None:
    pl.seed_everything(3, verbose=False)
    whole = SmallModule()
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=every, save_top_k=-1)
    options = {"accumulate_grad_batches": accumulate}
    small_trainer(phases(), keep, enable_checkpointing=True, **options).fit(whole, datamodule=MemoryData())
    expected = whole.state_dict()
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) >= EPOCHS
    for checkpoint in checkpoints:
        pl.seed_everything(99, verbose=False)
        module = SmallModule()
        small_trainer(phases(), **options).fit(module, datamodule=MemoryData(), ckpt_path=checkpoint)
        for name, value in module.state_dict().items():
            wanted, where = expected[name], f"{checkpoint.name}: {name}"
            assert torch.equal(value, wanted) if isinstance(value, torch.Tensor) else str(value) == str(wanted), where


@pytest.mark.filterwarnings("ignore:.*callbacks used to create.*")
def test_a_task_goes_on_behind_the_last_batch_of_an_epoch(tmp_path: Path, one_thread: None) -> None:
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=7, save_top_k=-1)
    small_trainer(QuantizationAwareTraining(), keep, enable_checkpointing=True, max_epochs=2).fit(
        FuelConsumption(), datamodule=FuelData()
    )
    for checkpoint in tmp_path.glob("*.ckpt"):
        small_trainer(QuantizationAwareTraining(), max_epochs=3).fit(
            FuelConsumption(), datamodule=FuelData(), ckpt_path=checkpoint
        )
