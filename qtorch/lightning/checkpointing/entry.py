"""What a checkpoint says of itself: which classes and options it belongs to, and how its network answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from qtorch.lightning.averaging import saved_network
from qtorch.lightning.checkpointing.changed_options import run_options
from qtorch.lightning.checkpointing.description import describe
from qtorch.lightning.checkpointing.randomness import random_state, restore_random_state
from qtorch.lightning.networks import DESCRIPTION, INSTANTIATOR, described_in, network_of
from qtorch.network.known_answer import known_answer
from qtorch.packed_state import packed

__all__ = ["FORMAT", "KEY", "draw_on", "put_entry", "task_of"]

#: Where a checkpoint says what it belongs to, and in which form.
KEY, FORMAT = "qtorch", 3
#: Where a checkpoint keeps the state of the random generators.
_RANDOM = "qtorch_random_state"


def task_of(pl_module: pl.LightningModule) -> Any:
    """What the task of a module is called: its own word for it, or its class's name in small letters."""
    return getattr(pl_module, "task", type(pl_module).__name__.lower())


def put_entry(
    checkpoint: dict[str, Any],
    trainer: pl.Trainer,
    pl_module: pl.LightningModule,
    options: Mapping[str, Any],
    state: Mapping[str, Any],
) -> None:
    """Put into a checkpoint what it takes to open it by itself, and to go on from it.

    Args:
        checkpoint: its entries, with the module's state; changed in place.
        trainer: of the run.
        pl_module: the module that is trained.
        options: of the callback, that make it again.
        state: of the callback, with which it goes on.
    """
    checkpoint[_RANDOM] = random_state()
    data: Any = getattr(trainer, "datamodule", None)
    network: Any = saved_network(trainer, network_of(pl_module))
    answer = known_answer(network, network.origin.samples)
    description = described_in(checkpoint["state_dict"])
    if isinstance(description, dict):
        # Whoever loads the state alone is asked too.
        checkpoint["state_dict"][DESCRIPTION] = packed({**description, "answer": answer})
    checkpoint[KEY] = {
        "format": FORMAT,
        "task": task_of(pl_module),
        "module": describe(pl_module),
        "data": None if data is None else describe(data),
        "qat": options,
        "state": state,
        "answer": answer,
        "run": run_options(trainer),
    }
    # So that Lightning's own load_from_checkpoint prepares the network before it loads it.
    arguments = checkpoint.get(pl_module.CHECKPOINT_HYPER_PARAMS_KEY) or {}
    checkpoint[pl_module.CHECKPOINT_HYPER_PARAMS_KEY] = {**arguments, "_instantiator": INSTANTIATOR}


def draw_on(checkpoint: Mapping[str, Any]) -> None:
    """Go on drawing random numbers where the saved run was, as far as the checkpoint says."""
    if _RANDOM in checkpoint:
        restore_random_state(checkpoint[_RANDOM])
