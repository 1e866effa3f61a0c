"""A run that may be killed at any moment: a checkpoint after every epoch, replaced in one step, found by the next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytorch_lightning as pl

from qtorch.errors import Unwritable
from qtorch.lightning.checkpointing.saving import checkpoint_bytes, checkpoint_of, write_whole

__all__ = ["ResumePoint"]


class ResumePoint(pl.Callback):
    """Keeps the state after the last complete epoch in ``folder/resume.ckpt``.

    A run that goes on from there ends with the weights, ranges and exported bytes of one that was never interrupted:
    the file has the optimizer, the schedule, the callbacks and every random generator, and an epoch's order of the
    data follows from its number.

    Args:
        folder: made if it does not exist; symbolic links are followed.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(os.path.realpath(folder)) / "resume.ckpt"

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint to go on from, if there is one."""
        return str(self.path) if os.path.isfile(self.path) else None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fail now rather than after an epoch.

        Raises:
            Unwritable: the folder can't be made or written.
        """
        with _or_unwritable():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            probe = self.path.with_suffix(f".{os.getpid()}")
            probe.touch()
            probe.unlink()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save beside the last one, then take its place: a killed process leaves either.

        Raises:
            Unwritable: there is no room any more, for example; the last one is still there.
        """
        checkpoint = checkpoint_of(trainer)
        if trainer.is_global_zero:
            with _or_unwritable():
                write_whole(self.path, checkpoint_bytes(checkpoint))
        trainer.strategy.barrier("resume point")


@contextmanager
def _or_unwritable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(
            where="--resume", expected="a writable folder", got=str(error), remedy="choose another folder"
        ) from error
