"""Networks, modules and data as somebody has them who does not train here, for commands to name."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset, TensorDataset

X = torch.rand(160, 3, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2] + X[:, 2:]


class Net(nn.Module):
    """Three numbers to one."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Sum(nn.Module):
    """Of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left) + self.right(right)


def make_net(width: int) -> nn.Module:
    return Net(width)


def fails() -> nn.Module:
    raise RuntimeError("no such thing")


class Held(pl.LightningModule):
    """The network is ``self.net``, with a loss that has a weight of its own."""

    def __init__(self, width: int = 8, rate: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = Net(width)
        self.weight = nn.Parameter(torch.ones(1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight.square() + mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.hparams["rate"])


class Itself(pl.LightningModule):
    """The module is the network."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.first, self.last = nn.Linear(3, width), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)


class Neither(pl.LightningModule):
    """No network that anybody could find."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = Net()


class Data(pl.LightningDataModule):
    """In batches."""

    def __init__(self, count: int = 160) -> None:
        super().__init__()
        self.count = count

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(X[: self.count], Y[: self.count]), batch_size=50)

    def test_dataloader(self) -> Any:
        return DataLoader(TensorDataset(X[100:], Y[100:]), batch_size=50)


class Rows(Dataset[Any]):
    """A sample at a time."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[index], Y[index]


def arrays(scale: float = 1.0) -> Any:
    return X.numpy() * scale, Y.numpy()
