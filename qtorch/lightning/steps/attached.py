"""A trainer for a module that is looked at outside a run: its steps and hooks may ask it what they ask in one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.core.optimizer import _init_optimizers_and_lr_schedulers
from pytorch_lightning.trainer.states import RunningStage, TrainerFn

from qtorch.lightning.networks import network_of
from qtorch.lightning.replacing import network_replaced

__all__ = ["Progress", "attached"]


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: the one that it was in.
        steps: of the optimizers.
        optimizer_states: what a checkpoint keeps of each optimizer; none where it has weights alone.
    """

    epoch: int = 0
    steps: int = 0
    optimizer_states: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> Progress:
        """Of a checkpoint's entries, as far as they are there."""
        epoch, steps, states = (checkpoint.get(name) for name in ("epoch", "global_step", "optimizer_states"))
        # Of an ended run "epoch" is the number behind the last one.
        begun: Any = checkpoint.get("loops")
        for key in ("fit_loop", "epoch_progress", "current", "ready"):
            begun = begun.get(key) if isinstance(begun, Mapping) else None
        epoch = max(begun - 1, 0) if isinstance(begun, int) else epoch
        kept = [each for each in states if isinstance(each, Mapping)] if isinstance(states, list | tuple) else []
        return cls(epoch if isinstance(epoch, int) else 0, steps if isinstance(steps, int) else 0, tuple(kept))


@contextmanager
def _quiet() -> Iterator[None]:
    """A block in which Lightning does not say which devices there are: nothing runs on them."""
    log = logging.getLogger("pytorch_lightning")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


class _StandIn(pl.Trainer):
    """Runs nothing; says where a run was, and which optimizers it had, once somebody asks."""

    def __init__(self, pl_module: pl.LightningModule, progress: Progress) -> None:
        with _quiet():
            super().__init__(
                accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
                enable_model_summary=False, max_epochs=progress.epoch + 1,
            )  # fmt: skip
        self._pl_module, self._progress, self._network = pl_module, progress, network_of(pl_module)
        self._configured: tuple[list[Any], list[Any]] | None = None

    @property
    def current_epoch(self) -> int:
        """The last one."""
        return self._progress.epoch

    @property
    def global_step(self) -> int:
        """The last one."""
        return self._progress.steps

    @property
    def lightning_module(self) -> pl.LightningModule:
        """Whose trainer it is."""
        return self._pl_module

    @property
    def optimizers(self) -> list[Any]:
        """As the module configures them, with the options that they had last."""
        return self._configure()[0]

    @optimizers.setter
    def optimizers(self, new_optims: list[Any]) -> None:
        self._configured = (new_optims, self._configure()[1])

    @property
    def lr_scheduler_configs(self) -> list[Any]:
        """As the module configures them."""
        return self._configure()[1]

    def _configure(self) -> tuple[list[Any], list[Any]]:
        if self._configured is None:
            # Something else may stand in the network's place just now, and has no parameters.
            with network_replaced(self._pl_module, self._network):
                self._configured = _init_optimizers_and_lr_schedulers(self._pl_module)
            for optimizer, state in zip(self._configured[0], self._progress.optimizer_states, strict=False):
                for group, kept in zip(optimizer.param_groups, state.get("param_groups", ()), strict=False):
                    group.update({name: value for name, value in kept.items() if name != "params"})
        return self._configured


_STAGES = {
    "train": (TrainerFn.FITTING, RunningStage.TRAINING),
    "test": (TrainerFn.TESTING, RunningStage.TESTING),
}


@contextmanager
def attached(
    pl_module: pl.LightningModule,
    data: pl.LightningDataModule | None,
    stage: Literal["train", "test"],
    progress: Progress | None = None,
) -> Iterator[None]:
    """A block in which a module and its data have a trainer, as in training or in a test; then their own again.

    Args:
        pl_module: may have one of its own, whose progress is taken where there is no other.
        data: the run's.
        stage: which hooks and steps may tell apart.
        progress: of the run that the module comes from.
    """
    own: Any = pl_module._trainer
    if progress is None:
        progress = Progress() if own is None else _of_live(own)
    trainer = _StandIn(pl_module, progress)
    trainer.state.fn, trainer.state.stage = _STAGES[stage]
    # Beside it, as a run has it.
    vars(trainer)["datamodule"] = data
    modules: list[Any] = [each for each in pl_module.modules() if isinstance(each, pl.LightningModule)]
    before = [(each, each._trainer) for each in modules]
    data_before = None if data is None else data.trainer
    try:
        for each in modules:
            each._trainer = trainer
        if data is not None:
            data.trainer = trainer
        yield
    finally:
        for each, had in before:
            each._trainer = had
        if data is not None:
            data.trainer = data_before


def _of_live(trainer: pl.Trainer) -> Progress:
    """Of a run in this process; of its optimizers the options, without what they have gathered."""
    states = tuple({"param_groups": [dict(group) for group in each.param_groups]} for each in trainer.optimizers)
    return Progress(max(trainer.fit_loop.epoch_progress.current.ready - 1, 0), trainer.global_step, states)
