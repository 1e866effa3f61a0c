"""A small task with all that makes training hard to resume: batch norm, dropout, a shuffling DataLoader.

Run as a program it trains, and kills itself where it is told to: ``python -m tests.small_task FOLDER [EPOCH BATCH]``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from export.graph.build import integer_graph
from export.tflite.writer import write_tflite
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpointing.resume import ResumePoint

EPOCHS = 8


class SmallModule(pl.LightningModule):
    """A LightningModule as anyone writes it: no class of this project."""

    def __init__(self, width: int = 6, rate: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv1d(2, width, 3), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
            nn.Linear(6 * width, 1),
        )  # fmt: skip
        self.example_input_array = torch.zeros(1, 2, 8)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), self.rate)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class SmallData(pl.LightningDataModule):
    """Sums of random windows."""

    def __init__(self, rows: int = 96, batch_size: int = 16) -> None:
        super().__init__()
        self.save_hyperparameters()
        x = torch.rand(rows, 2, 8, generator=torch.Generator().manual_seed(1))
        self.rows = TensorDataset(x, x.sum((1, 2))[:, None] / 4)
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, batch_size=self.batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, batch_size=self.batch_size)


def small_trainer(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """Quiet, on one core."""
    settings = {"max_epochs": EPOCHS, "enable_checkpointing": False, "num_sanity_val_steps": 0, **options}
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=list(callbacks), **settings,
    )  # fmt: skip


class SaveEveryRank(pl.Callback):
    """Leaves what each process of a distributed run ended with."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        torch.save(pl_module.state_dict(), self.folder / f"rank{trainer.global_rank}of{trainer.world_size}.pt")


class _Killer(pl.Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, *kill = Path(sys.argv[1]), *map(int, sys.argv[2:])
    torch.set_num_threads(1)
    pl.seed_everything(3, verbose=False)
    qat = QuantizationAwareTraining(
        start=3,
        freeze_observers=5,
        freeze_batch_norm=6,
        observer="moving_average:0.9",
        scales="measured",
    )
    point = ResumePoint(folder / "resume")
    trainer = small_trainer(qat, *([_Killer(*kill)] if kill else []), point)
    module = SmallModule()
    trainer.fit(module, datamodule=SmallData(), ckpt_path=point.checkpoint)
    torch.save(module.state_dict(), folder / "weights.pt")
    (folder / "model.tflite").write_bytes(write_tflite(integer_graph(module.net.eval())))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
