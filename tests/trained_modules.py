"""Modules that train, hold or make their network in ways that people have, around the task of ``plain_lightning``."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import qtorch
from tests.plain_lightning import TRAINED, Plain, X, Y

#: Inputs ``[N, 4]`` and targets ``[N, 1]`` of the training and the test part.
TRAIN, TEST = (X[:TRAINED], Y[:TRAINED]), (X[TRAINED:], Y[TRAINED:])


class WithoutOptimizer(Plain):
    """Its optimizer comes from the command line."""

    configure_optimizers = pl.LightningModule.configure_optimizers


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


def error_of(net: nn.Module) -> float:
    """Mean squared error of a network in evaluation on the test part."""
    net.eval()
    with torch.no_grad():
        return float(mse_loss(net(TEST[0]), TEST[1]))
