"""What other callbacks remember of float training, which is no bar for the quantized training that follows."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor

__all__ = ["forget_best", "forget_patience"]


def forget_best(trainer: pl.Trainer) -> None:
    """The best checkpoints of float training are the worst from now on: the next one that is monitored replaces them.

    Only those of quantized training can be exported as they were trained.
    """
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.best_k_models:
            worst = _worst(checkpoint.mode)
            checkpoint.best_k_models = dict.fromkeys(checkpoint.best_k_models, worst)
            checkpoint.best_model_score = worst
            if len(checkpoint.best_k_models) == checkpoint.save_top_k:
                checkpoint.kth_value = worst


def forget_patience(trainer: pl.Trainer) -> None:
    """Early stopping waits anew."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping):
            callback.wait_count, callback.stopped_epoch = 0, 0
            callback.best_score = _worst(callback.mode)


def _worst(mode: str) -> Tensor:
    return torch.tensor(float("inf") if mode == "min" else -float("inf"))
