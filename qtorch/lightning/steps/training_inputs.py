"""What a network is called with in training: of every batch of an epoch, as ranges are measured on it."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.data import sized_len
from pytorch_lightning.utilities.seed import isolate_rng

from qtorch.lightning.steps.batches import batches_of, transferred
from qtorch.lightning.steps.received import Received, received_in

__all__ = ["training_inputs"]


def training_inputs(trainer: pl.Trainer, pl_module: pl.LightningModule, most: int | None = None) -> Generator[Any]:
    """What the network is called with, of every training batch: by the training step, in the mode that it trains in.

    A loader's shuffling and a step's own draws take nothing from the generators that training draws from, and are the
    same in a resumed run.

    Args:
        trainer: of the run.
        pl_module: as it is in training.
        most: how many batches; ``None``: all of an epoch.
    """
    loader: Any = trainer.train_dataloader
    sampler: Any = getattr(loader, "sampler", None)
    if hasattr(sampler, "set_epoch"):
        sampler.set_epoch(trainer.current_epoch)
    received, data = Received(pl_module, ("training_step",)), getattr(trainer, "datamodule", None)
    with isolate_rng(), trainer.precision_plugin.train_step_context():
        torch.manual_seed(trainer.current_epoch)
        batches = (
            (transferred(trainer.precision_plugin.convert_input(batch), pl_module, data, pl_module.device), *numbers)
            for batch, *numbers in itertools.islice(
                batches_of(loader, "max_size_cycle"), most or _epoch_length(trainer)
            )
        )
        yield from received_in(received, batches)


def _epoch_length(trainer: pl.Trainer) -> int | None:
    """Batches of an epoch of a loader that may have no end, no more than the run takes; ``None``: all there are."""
    loader, count = trainer.train_dataloader, trainer.num_training_batches
    parts = list(loader.values()) if isinstance(loader, dict) else loader
    # A DataLoader of a stream has the method, and no length.
    if all(sized_len(each) is not None for each in (parts if isinstance(parts, list | tuple) else [parts])):
        return None
    if not isinstance(count, float):
        return count
    return trainer.max_steps * trainer.accumulate_grad_batches if trainer.max_steps > 0 else None
