"""The test step as a measure of a run's networks: a task's own of its arrays, or what others log."""

from __future__ import annotations

import copy
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.model_helpers import is_overridden
from torch import nn

from export.figures.evaluation import Measure, Tested, tested_on_rows
from export.lightning_run.drawn_batches import drawn_alike, drawn_test_batches, served
from export.lightning_run.recorded_test import TestRecorder
from qtorch.errors import BadConfiguration, BadData, BadInput
from qtorch.handed_over.words import in_words
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.replacing import counted_calls, network_replaced
from qtorch.lightning.task import Task
from qtorch.progress import hidden
from qtorch.surroundings import evaluating

__all__ = ["WRITE_IT", "run_figures"]

#: What makes figures, in words.
WRITE_IT = "write a test_step that logs figures, as in self.log('mse', ...)"


def run_figures(run: Run) -> Measure | BadConfiguration:
    """What gives the test figures of a network: a task's own, or what any other LightningModule's test step logs.

    In a test step the network stands wherever the module has its own, and it has to be called there.

    Returns:
        Without a ``test_step`` the error that says so. Else what raises :class:`BadConfiguration` where the test step
        failed, or called another network than the one whose figures were asked for; and :class:`BadData` where data are
        gone.
    """
    if _hands_rows_on(run):
        data, task = run.data, run.module
        assert isinstance(data, ArrayDataModule)
        assert isinstance(task, Task)
        return tested_on_rows(*data.arrays.test, task.metrics)
    kind = type(run.module).__name__
    if not is_overridden("test_step", run.module):
        return BadConfiguration(
            where=kind, expected="a test_step that logs figures", got=f"{kind} has no test_step", remedy=WRITE_IT
        )
    return _logged_figures(run)


def _hands_rows_on(run: Run) -> bool:
    """Whether the test part's rows are what the network gets: the task's own steps hand them on as they are."""
    if not (isinstance(run.module, Task) and isinstance(run.data, ArrayDataModule)):
        return False
    hooks = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    own = any(is_overridden(hook, each) for hook in hooks for each in (run.module, run.data))
    return not own and type(run.module).test_step is Task.test_step


def _gone(error: Exception) -> BadData:
    return BadData(where="test data", expected="batches", got=in_words(error), remedy="bring the data back")


def _logged_figures(run: Run) -> Measure:
    where = f"test_step of {type(run.module).__name__}"
    remedy = "call self.net(x) or self(x) in test_step, not parts of the network or another copy of it"
    drawn: list[Any] = []

    def figures(net: nn.Module) -> Tested:
        # Each network meets a module that has tested no other: one may keep outputs from batch to batch.
        recorder, module = TestRecorder(), copy.deepcopy(run.module)
        # It logs what the machine has.
        with hidden():
            trainer = pl.Trainer(
                accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False, barebones=False,
                enable_model_summary=False, callbacks=[recorder],
            )  # fmt: skip
        owner = module if run.data is None else run.data
        if not drawn:
            try:
                drawn.append(drawn_test_batches(owner))
            except BadInput:
                raise
            # A loader whose data are gone fails in whatever way its libraries do.
            except Exception as error:
                raise _gone(error) from error
        with (
            evaluating(module), network_replaced(module, net), evaluating(net), counted_calls(net) as calls,
            recorder.listening(net), served(owner, drawn[0]), drawn_alike(),
        ):  # fmt: skip
            try:
                logged = trainer.test(module, datamodule=run.data, verbose=False)
            except BadInput:
                raise
            except OSError as error:
                raise _gone(error) from error
            # A test step that wants a layer of the network fails as it will: what runs on a device has no layers.
            except Exception as error:
                raise BadConfiguration(
                    where=where,
                    expected="one that runs with any network in the place of self.net",
                    got=in_words(error),
                    remedy=remedy,
                ) from error
        if not calls.count:
            raise BadConfiguration(
                where=where, expected="calls of self.net", got=f"none in {recorder.batches} batches", remedy=remedy
            )
        # One mapping for each loader; their names differ. A task's own begin with the part.
        prefix = "test_" if isinstance(module, Task) else ""
        return {name.removeprefix(prefix): value for each in logged for name, value in each.items()}, recorder.record()

    return figures
