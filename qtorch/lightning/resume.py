"""A run that may be killed at any moment: a checkpoint after every epoch, replaced in one step, found by the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytorch_lightning as pl

from qtorch.errors import Unwritable

__all__ = ["ResumePoint"]


class ResumePoint(pl.Callback):
    """Keeps the state after the last complete epoch in ``folder/resume.ckpt``.

    A run that goes on from there ends with the weights, ranges and exported bytes of one that was never interrupted:
    the file has the optimizer, the schedule, the callbacks and every random generator, and an epoch's order of the
    data follows from its number.

    Args:
        folder: made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "resume.ckpt"

    @property
    def found(self) -> str | None:
        """The checkpoint to go on from, if there is one."""
        return str(self.path) if self.path.is_file() else None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fail now rather than after an epoch.

        Raises:
            Unwritable: the folder can't be made or written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            probe = self.path.with_suffix(f".{os.getpid()}")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise Unwritable(
                where="--resume", expected="a writable folder", got=str(error), remedy="choose another folder"
            ) from error

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save beside the last one, then take its place: a killed process leaves either."""
        beside = self.path.with_suffix(".new")
        trainer.save_checkpoint(beside, weights_only=False)
        if trainer.is_global_zero:
            os.replace(beside, self.path)
        trainer.strategy.barrier("resume point")
