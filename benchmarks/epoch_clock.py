"""Seconds of every training epoch."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytorch_lightning as pl

__all__ = ["EpochClock"]


class EpochClock(pl.Callback):
    """Keeps the seconds of every epoch, and writes them when training ends.

    Args:
        file: a JSON list, written by the first of several processes; ``None``: nowhere.
    """

    def __init__(self, file: str | None = None) -> None:
        self.file = file
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.started)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write."""
        if self.file is not None and trainer.is_global_zero:
            Path(self.file).write_text(json.dumps(self.seconds))
