"""How long a trainer's run is, in epochs, where it is told in steps."""

from __future__ import annotations

import math

import pytorch_lightning as pl

__all__ = ["epochs_of", "hold_until", "told_in_steps"]


def told_in_steps(trainer: pl.Trainer) -> bool:
    """Whether the run ends after a number of steps, which is one of epochs once its batches are counted."""
    return trainer.max_steps > 0


def epochs_of(trainer: pl.Trainer) -> int:
    """Epochs that a run has at most, the last of them begun; -1 for one without end, or whose batches no one knows.

    Where it is told in steps the batches of an epoch are counted, as ``trainer.estimated_stepping_batches`` does: once
    the optimizers are there.
    """
    epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
    if not told_in_steps(trainer):
        return epochs
    trainer.fit_loop.setup_data()
    batches = trainer.num_training_batches
    if not batches or math.isinf(batches):
        return epochs
    # With several optimizers the trainer counts the steps of each.
    steps = math.ceil(batches / trainer.accumulate_grad_batches) * max(len(trainer.optimizers), 1)
    if not trainer.lightning_module.automatic_optimization and trainer.current_epoch and trainer.global_step:
        # A module that steps by itself says by its epochs so far how often it does.
        steps = math.ceil(trainer.global_step / trainer.current_epoch)
    most = math.ceil(trainer.max_steps / steps)
    return most if epochs < 0 else min(epochs, most)


def hold_until(trainer: pl.Trainer, epoch: int) -> int:
    """Let no early stop end the run before ``epoch`` has been; returns the least epochs that it was to have before."""
    least = trainer.fit_loop.min_epochs or 0
    trainer.fit_loop.min_epochs = max(least, epoch + 1)
    return least
