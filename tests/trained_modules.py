"""LightningModules as people write them, around one small task, and its data."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import qtorch

_X = torch.rand(160, 4, generator=torch.Generator().manual_seed(0))
#: Inputs ``[N, 4]`` and targets ``[N, 1]`` of the training and the test part.
TRAIN = (_X[:128], _X[:128, :1] * _X[:128, 1:2] + _X[:128, 2:].sum(1, keepdim=True))
TEST = (_X[128:], _X[128:, :1] * _X[128:, 1:2] + _X[128:, 2:].sum(1, keepdim=True))


class Plain(pl.LightningModule):
    """Calls ``self.net``."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1))
        self.example_input_array = torch.zeros(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = mse_loss(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", mse_loss(self(batch[0]), batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self(batch[0]), batch[1]))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.02)


class WithoutOptimizer(Plain):
    """Its optimizer comes from the command line."""

    configure_optimizers = pl.LightningModule.configure_optimizers


class Alias(Plain):
    """Calls the network by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.model = self.net

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class OptimizerInConstructor(Plain):
    """Makes its optimizer before anyone prepares the network."""

    def __init__(self) -> None:
        super().__init__()
        self.optimizer = torch.optim.Adam(self.net.parameters(), 0.02)

    def configure_optimizers(self) -> Any:
        return self.optimizer


class Compiled(Plain):
    """Its network is compiled, without a compiler."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(self.net, backend="eager")


class Parts(Plain):
    """Never calls the network as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = self.net[:3], self.net[3]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


class KeptMethod(Plain):
    """Calls a method of the network from before it was prepared."""

    def __init__(self) -> None:
        super().__init__()
        self.run = self.net.forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


class Prepared(Plain):
    """Prepares its network itself."""

    def __init__(self) -> None:
        super().__init__()
        config = qtorch.QuantizationConfig(activations="int16", weight_observer="mse")
        self.net = qtorch.prepare(self.net, torch.zeros(1, 4), config)


class ForgottenActivation(Plain):
    """Leaves an argument out of its hyperparameters: built again it is another network."""

    def __init__(self, act: Any = nn.ReLU) -> None:
        pl.LightningModule.__init__(self)
        self.save_hyperparameters(ignore=["act"])
        self.net = nn.Sequential(nn.Linear(4, 8), act(), nn.Linear(8, 1))
        self.example_input_array = torch.zeros(1, 4)


class ForgottenFactor(Plain):
    """The same, of a number that stands in no attribute of any op."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.hparams.clear()
        self.net = Scaled(factor)


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.linear, self.factor = nn.Linear(4, 1), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.factor


class HandedIn(Plain):
    """Gets its network as Lightning advises."""

    def __init__(self, net: nn.Module) -> None:
        pl.LightningModule.__init__(self)
        self.save_hyperparameters(ignore=["net"])
        self.net = net
        self.example_input_array = torch.zeros(1, 4)


class Size(enum.Enum):
    SMALL, LARGE = 8, 16


class OddArguments(Plain):
    """Hyperparameters that are no plain values."""

    def __init__(self, size: Size, folder: Path, factor: np.float32) -> None:
        super().__init__(size.value + int(factor))
        self.save_hyperparameters()
        assert (folder / "x").name == "x"


class Data(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*TRAIN), batch_size=32, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*TEST), batch_size=32)

    test_dataloader = predict_dataloader = val_dataloader


def error_of(net: nn.Module) -> float:
    """Mean squared error of a network in evaluation on the test part."""
    net.eval()
    with torch.no_grad():
        return float(mse_loss(net(TEST[0]), TEST[1]))
