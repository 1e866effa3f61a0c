"""Figures of all stages are of the same samples in the same order, whatever a test loader draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

from export.lightning_run.network_inputs import network_inputs
from export.lightning_run.subject import subject_of
from qtorch.lightning.regression import Regression
from recipes.sine_qat.data import SineData
from tests.plain_lightning import TRAINED, Plain, PlainData, X, Y, calibrated_run

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class Noisy(Dataset[Any]):
    """Rows with noise of every kind of generator."""

    def __len__(self) -> int:
        return len(X) - TRAINED

    def __getitem__(self, index: int) -> Any:
        noise = torch.rand(4) + float(np.random.rand())
        return X[TRAINED + index] + noise, Y[TRAINED + index]


class Drawing(PlainData):
    """Shuffles, leaves rows out, adds noise; its generator goes on from one loader to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Noisy(), batch_size=24, shuffle=True, drop_last=True, generator=self.generator)

    val_dataloader = predict_dataloader = test_dataloader


class Looking(Plain):
    """Adds noise itself, writes into its batch, and logs the last batch alone."""

    seen: list[Tensor]

    def on_test_epoch_start(self) -> None:
        self.seen = []

    def test_step(self, batch: Any, batch_idx: int) -> None:
        batch[0].add_(torch.rand(4))
        self.seen.append(batch[0].sum())
        error = mse_loss(self.net(batch[0]), batch[1])
        self.log("sum", torch.stack(self.seen).sum(), on_epoch=True, reduce_fx="max")
        self.log("mse", error, on_epoch=True, reduce_fx="min")


def test_stages_are_tested_on_the_same_samples() -> None:
    run = calibrated_run(Looking, Drawing())
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    figures, network = subject_of(run).evaluation.required(), run.module.net
    assert isinstance(network, nn.Module)
    first, second, other = (figures(each)[0] for each in (network, network, run.qat.original.eval()))
    assert first == second
    assert first["sum"] == other["sum"]
    assert first["mse"] != other["mse"]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index, union-attr]
    assert "test_dataloader" not in vars(run.data)


class Scaled(Regression):
    """A shipped task whose network reads other numbers than its data have."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1)), 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step((batch[0] * 10, batch[1]), batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        super().test_step((batch[0] * 100, batch[1]), batch_idx)


def test_inputs_of_arrays_are_what_the_network_gets() -> None:
    """The training step's of training data, the test step's of test data; of a plain task the very rows."""
    from dataclasses import replace

    run, data = calibrated_run(Plain, None), SineData(samples=60)
    found = network_inputs(replace(run, module=Scaled(), data=data))
    (x, _), (test_x, _) = data.arrays.train, data.arrays.test
    assert torch.equal(found["train"], x * 10)
    assert torch.equal(found["test"], test_x * 100)
    plain = network_inputs(replace(run, module=Regression(nn.Linear(1, 1), 1), data=data))
    assert plain["train"] is x
    assert plain["test"] is test_x
