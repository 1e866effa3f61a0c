"""Lightning's own progress bar, which nothing else draws beside."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytorch_lightning as pl

from qtorch.progress import quiet

__all__ = ["quiet_beside"]


def quiet_beside(trainer: pl.Trainer) -> AbstractContextManager[None]:
    """A block of a trainer's hook in which progress is shown only if the trainer shows none."""
    return nullcontext() if trainer.progress_bar_callback is None else quiet()
