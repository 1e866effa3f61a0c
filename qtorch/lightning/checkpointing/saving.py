"""A trainer's checkpoint in memory, and a file that is written whole or not at all."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.utilities import rank_zero_warn

__all__ = ["checkpoint_bytes", "checkpoint_of", "write_whole"]


class _Caught(CheckpointIO):
    """Keeps what would be written; reads and removes as usual."""

    def __init__(self, usual: CheckpointIO) -> None:
        self.usual = usual
        self.checkpoint: dict[str, Any] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        self.checkpoint = checkpoint

    def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> dict[str, Any]:
        return self.usual.load_checkpoint(path, *args, **options)

    def remove_checkpoint(self, path: Any) -> None:
        self.usual.remove_checkpoint(path)


def checkpoint_of(trainer: pl.Trainer) -> dict[str, Any]:
    """What the trainer would write; empty in every process of a distributed run but the first. All have to call it."""
    strategy = trainer.strategy
    usual = strategy.checkpoint_io
    caught = _Caught(usual)
    strategy.checkpoint_io = caught
    try:
        trainer.save_checkpoint("in memory", weights_only=False)
    finally:
        strategy.checkpoint_io = usual
    return caught.checkpoint


def checkpoint_bytes(checkpoint: dict[str, Any]) -> bytes:
    """A file of it; without hyperparameters that can't be stored, as Lightning does it."""
    buffer = io.BytesIO()
    try:
        torch.save(checkpoint, buffer)
    except AttributeError as error:
        kept = {
            key: value for key, value in checkpoint.items() if key != pl.LightningModule.CHECKPOINT_HYPER_PARAMS_KEY
        }
        rank_zero_warn(f"hyperparameters are left out of the checkpoint, because they can't be stored: {error}")
        buffer = io.BytesIO()
        torch.save(kept, buffer)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the file, then take its place: a kill or a full disk leaves either the old one or the new one.

    Raises:
        OSError: it can't be written.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
