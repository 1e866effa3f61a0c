"""That there is a first batch, and what it shows: a step calls the network as a whole, with what ranges will see."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
from torch import nn

from qtorch.errors import BadConfiguration
from qtorch.lightning.networks import require_inputs
from qtorch.lightning.replacing import Calls, counted_calls

__all__ = ["FirstBatch", "require_batches"]


def require_batches(trainer: pl.Trainer) -> None:
    """See that a fit has batches to train and to measure ranges on, and counts in steps of at least one.

    Raises:
        BadConfiguration: the trainer is limited to none, or divides by none.
    """
    for name in ("limit_train_batches", "accumulate_grad_batches", "check_val_every_n_epoch"):
        count = getattr(trainer, name)
        if count == 0:
            raise BadConfiguration(
                where=f"trainer.{name}",
                expected="at least one: without a batch there is nothing to train on, and to measure ranges on",
                got=f"{count}",
                remedy="leave it out, or raise it",
            )


class FirstBatch:
    """The calls of a network in training, until the first batch has shown that there are some."""

    def __init__(self) -> None:
        self._calls: Calls | None = None
        self._counting = ExitStack()

    def watch(self, network: nn.Module) -> None:
        """Count the calls of ``network`` from here; the next batch is the first."""
        self._counting.close()
        self._calls = self._counting.enter_context(counted_calls(network))

    def forget(self) -> None:
        """Count no more, and leave nothing in the network."""
        self._counting.close()

    def require_called(self, pl_module: pl.LightningModule, batch: Any, *, has_loss: bool, quantized: bool) -> None:
        """See behind the first batch that its step has called the network as a whole; behind others nothing.

        Args:
            pl_module: the module that is trained.
            batch: as its step got it.
            has_loss: whether the step gave a loss. Without one and without calls the next batch is the first.
            quantized: whether training is quantized; for the message.

        Raises:
            BadConfiguration: it was not called with gradients, or reads other inputs than ``network_inputs`` says.
        """
        calls = self._calls
        if calls is None or not (calls.in_training or has_loss):
            return
        self._calls = None
        self._counting.close()
        if not calls.in_training:
            raise BadConfiguration(
                where=f"{type(pl_module).__name__}.training_step",
                expected="a call of self.net, the network that is quantized and exported, with gradients",
                got=f"none in the first {'quantized batch' if quantized else 'batch'}",
                remedy="call self.net(x) itself, not parts of it, a copy, or a method that was kept from before",
            )
        if hasattr(pl_module, "network_inputs"):
            require_inputs(pl_module, batch, calls.arguments)
