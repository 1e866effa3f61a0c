"""A straight line is fitted to what the network receives beside the right targets; a module is asked with a trainer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from export.bundle.make import make_bundle
from export.bundle.outcome_page import written_page
from export.console.page import plain_text
from export.lightning_run.network_inputs import network_inputs
from export.lightning_run.subject import subject_of
from export.lightning_run.training_pairs import training_pairs
from export.options import ExportOptions
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.steps.attached import Progress, attached
from tests.plain_lightning import TRAINED, Plain, PlainData, X, Y, calibrated_run
from tests.small_task import small_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:You have overridden .*batch_transfer"),
]


class Scaled(Plain):
    """Scales on the device, in training and in the test."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] * 7 - 1, batch[1]]


class Step(Plain):
    """Scales in its steps, and calls the network by its forward."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net.forward(batch[0] * 7 - 1), batch[1])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.net.forward(batch[0] * 7 - 1), batch[1]))


class Third(Plain):
    """Reads the second and the third part of a batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch[1]), batch[2])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.net(batch[1]), batch[2]))


class ByName(Plain):
    """Reads a dict."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch["x"] * 3), batch["y"])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self.net(batch["x"] * 3), batch["y"]), batch_size=len(batch["x"]))


class Shuffles(Plain):
    """Trains on the rows of a batch in another order, with their targets."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        order = torch.randperm(len(batch[0]))
        return mse_loss(self.net(batch[0][order]), batch[1][order])


class Mixes(Plain):
    """Trains on mixtures of a batch's rows."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch[0] * 0.7 + batch[0].flip(0) * 0.3), batch[1])


class Twice(Plain):
    """Calls the network twice a batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch[0]) + self.net(batch[0] * 2), batch[1])


class Noisy(Plain):
    """Adds noise, row by row."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch[0] + torch.zeros_like(batch[0]).normal_(0, 1e-3)), batch[1])


class ThirdData(PlainData):
    @staticmethod
    def collate(rows: Any) -> Any:
        x, y = torch.stack([x for x, _ in rows]), torch.stack([y for _, y in rows])
        return x.flip(1) * 50, x, y

    def loader(self, rows: slice) -> DataLoader[Any]:
        return DataLoader(TensorDataset(X[rows], Y[rows]), batch_size=32, collate_fn=self.collate)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(slice(0, TRAINED))

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader(slice(TRAINED, None))


class DictData(ThirdData):
    @staticmethod
    def collate(rows: Any) -> Any:
        x, y = torch.stack([x for x, _ in rows]), torch.stack([y for _, y in rows])
        return {"id": torch.arange(len(rows) + 3), "y": y, "x": x}


def line_of_numpy() -> float:
    """Mean squared error on the test part of the line through the training part, which no scaling changes."""
    inputs = np.c_[X.double().numpy(), np.ones(len(X))]
    weights, *_ = np.linalg.lstsq(inputs[:TRAINED], Y[:TRAINED].double().numpy(), rcond=None)
    return float(((inputs[TRAINED:] @ weights - Y[TRAINED:].double().numpy()) ** 2).mean())


@pytest.mark.parametrize(
    ("kind", "data"), [(Scaled, PlainData), (Step, PlainData), (Third, ThirdData), (ByName, DictData)]
)
def test_the_line_of_a_verdict_is_that_of_least_squares(kind: type[Plain], data: type[PlainData]) -> None:
    found = make_bundle(subject_of(calibrated_run(kind, data())), "plain", ExportOptions()).verdict
    assert found is not None
    line = next(each for each in found.comparisons if each.against == "linear regression")
    assert line.figure == pytest.approx(line_of_numpy(), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "why"), [(Shuffles, "one by one"), (Mixes, "one by one"), (Twice, "several times"), (Noisy, "")]
)
def test_pairs_are_of_the_same_rows_or_none(kind: type[Plain], why: str) -> None:
    run = calibrated_run(kind, PlainData())
    found = training_pairs(run, network_inputs(run), "[1]", (4,), Y[TRAINED:])
    if why:
        assert isinstance(found, str)
        assert why in found
        return
    assert not isinstance(found, str)
    x, y = found
    # Which rows these are, says the target.
    rows = (y.flatten()[:, None] == Y[:TRAINED].flatten()).int().argmax(1)
    assert torch.allclose(x, X[:TRAINED][rows], atol=0.01)


def test_a_line_that_is_left_out_is_said() -> None:
    bundle = make_bundle(subject_of(calibrated_run(Shuffles, PlainData())), "plain", ExportOptions())
    assert bundle.verdict is not None
    assert not any(each.against == "linear regression" for each in bundle.verdict.comparisons)
    assert any("linear regression is not compared with" in remark for remark in bundle.verdict.remarks)


class Mine(Plain):
    """Two optimizers by hand; its steps and hooks ask the trainer; tells the values that its network gets."""

    seen: tuple[float, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.other = torch.nn.Parameter(torch.zeros(1))

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(self.net.parameters(), 0.25), torch.optim.SGD([self.other], 0.5)]

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] * (2 if self.trainer.training else 1), batch[1]]

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        first, second = self.optimizers()  # type: ignore[misc]
        assert self.optimizers()[1].param_groups[0]["lr"] == second.param_groups[0]["lr"] == 0.5  # type: ignore[index]
        assert self.trainer.training
        assert self.trainer.global_step >= 0
        factor = 4 * first.param_groups[0]["lr"] * (1 + self.trainer.current_epoch)
        loss = mse_loss(self.net(batch[0] * factor), batch[1])
        first.zero_grad()
        self.manual_backward(loss)
        # The rate that a checkpoint keeps.
        first.param_groups[0]["lr"] = 0.125

    def test_step(self, batch: Any, batch_idx: int) -> None:
        assert self.trainer.testing
        self.log("mse", mse_loss(self.net(batch[0]), batch[1]))


def test_optimizers_and_trainer_of_a_module_that_is_looked_at() -> None:
    run = calibrated_run(Mine, PlainData())
    found = network_inputs(run)
    assert (dict(found.absent), found.remarks) == ({}, ())
    # The hook doubles, in training alone; the step takes the first rate four times.
    assert float(found["train"].max()) == pytest.approx(2 * float(X[:TRAINED].max()))
    assert torch.equal(found["test"], X[TRAINED:])
    assert run.module._trainer is None


def test_a_run_goes_on_where_its_checkpoint_was(tmp_path: Any) -> None:
    module, data = Mine(), PlainData()
    trainer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=2)
    trainer.fit(module, train_dataloaders=data.train_dataloader())
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    run = load_run(tmp_path / "mine.ckpt")
    assert run.progress is not None
    assert run.progress.epoch == 1
    with attached(run.module, None, "train", run.progress):
        assert run.module.trainer.training
        assert run.module.current_epoch == 1
        assert [each.param_groups[0]["lr"] for each in run.module.trainer.optimizers] == [0.125, 0.5]
    assert Progress.of({}) == Progress()


class Fails(Plain):
    """Can't be followed."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        raise LookupError("a teacher that is not there")


class Unread(Plain):
    """Has a hook that fails in the test."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if not self.training:
            raise LookupError("a table that is not there")
        return batch


@pytest.mark.filterwarnings("ignore:.*the first part of each batch stands for")
def test_what_stands_for_a_step_is_said_everywhere(tmp_path: Any) -> None:
    bundle = make_bundle(subject_of(calibrated_run(Fails, PlainData())), "plain", ExportOptions())
    said = "the first part of each batch stands for what the network gets of the training data"
    assert said in plain_text(written_page(bundle, tmp_path, ExportOptions()))
    assert any(said in each for each in json.loads(bundle.files["metrics.json"])["verdict"]["remarks"])
    assert said in bundle.files["report.html"].decode()


def test_data_that_are_there_are_not_said_to_be_absent() -> None:
    found = network_inputs(calibrated_run(Unread, PlainData()))
    assert "no test data" not in found.why("test")
    assert "LookupError: a table that is not there" in found.why("test")
