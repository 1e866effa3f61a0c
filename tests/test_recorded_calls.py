"""A test step that asks the network anew for each figure has one output a batch; asked other things, it has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from export.figures.record import Record
from export.lightning_run.recorded_test import TestRecorder

X = torch.rand(10, 3, generator=torch.Generator().manual_seed(0))
Step = Callable[[nn.Module, Tensor], object]


class Module(pl.LightningModule):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self.net, self.step = nn.Linear(3, 1), step

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.step(self.net, batch[0])


def _record(step: Step) -> tuple[Record, Module]:
    module, recorder = Module(step), TestRecorder()
    trainer = pl.Trainer(
        logger=False, callbacks=[recorder], enable_progress_bar=False, accelerator="cpu", enable_model_summary=False
    )
    with recorder.listening(module.net):
        trainer.test(module, DataLoader(TensorDataset(X, X.sum(1)), 4), verbose=False)
    return recorder.record(), module


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (lambda net, x: net(x), True),
        (lambda net, x: [net(x), net(x.clone()), net(x)], True),
        (lambda net, x: [net(x), net(-x)], False),
        (lambda net, x: [net(x), net(x[:1])], False),
        (lambda net, x: x, False),
    ],
)
def test_calls_of_a_batch_that_are_the_same_are_one(step: Step, kept: bool) -> None:
    record, module = _record(step)
    assert (record.outputs is not None) == kept
    if record.outputs is not None:
        assert torch.equal(record.outputs, module.net(X).detach())
