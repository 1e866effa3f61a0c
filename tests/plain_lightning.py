"""LightningModules and data as anyone writes them, without a class of this project; some hold their network oddly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.tflite.reader import read_tflite
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.replacing import replace_network

X = torch.rand(192, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2] + X[:, 2:].sum(1, keepdim=True)
TRAINED = 128


def loader(part: Literal["train", "test"]) -> DataLoader[Any]:
    rows = slice(0, TRAINED) if part == "train" else slice(TRAINED, None)
    return DataLoader(TensorDataset(X[rows], Y[rows]), batch_size=32, shuffle=part == "train")


class Plain(pl.LightningModule):
    """Fits a product and a sum; calls ``self.net``."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 1))
        self.example_input_array = torch.zeros(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self(batch[0]), batch[1])

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", mse_loss(self(batch[0]), batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.02)


class Alias(Plain):
    """Its steps know the network by another name."""

    def __init__(self) -> None:
        super().__init__()
        self.model = self.net

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PlainData(pl.LightningDataModule):
    """Its loaders give what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> DataLoader[Any]:
        return loader("train")

    def val_dataloader(self) -> DataLoader[Any]:
        return loader("test")

    test_dataloader = predict_dataloader = val_dataloader


def calibrated_run(kind: Callable[[], pl.LightningModule], data: pl.LightningDataModule | None, **options: Any) -> Run:
    """A run as training leaves it: float weights of a few steps, then prepared, calibrated, and trained on a little.

    By hand, so that it takes a fraction of a second; always the same.
    """
    torch.manual_seed(0)
    module = kind()
    qat, net, example = QuantizationAwareTraining(**options), module.net, module.example_input_array
    assert isinstance(net, nn.Module)
    assert isinstance(example, Tensor)
    _train(net, 100, 0.02)
    qat.original = copy.deepcopy(net)
    network = qtorch.prepare(net, example, qat.config)
    replace_network(module, network)
    qat.float_parameters = {n: t.clone() for n, t in network.state_dict().items() if isinstance(t, Tensor)}
    qtorch.calibrate(network, [X[:TRAINED]])
    qtorch.set_mode(network, qtorch.Mode.QUANTIZED)
    _train(network, 20, 0.002)
    qat.began, qat.mode = 1, qtorch.Mode.QUANTIZED
    return Run("plain", module.eval(), data, qat)


def _train(net: nn.Module, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(net.train().parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        mse_loss(net(X[:TRAINED]), Y[:TRAINED]).backward()
        optimizer.step()


def mse_in_tflm(model: bytes) -> float:
    """What a file makes of the test part in TFLite Micro itself, a sample at a time."""
    from tflite_micro import runtime

    graph = read_tflite(model)
    source, sink = (graph.values[names[0]].qparams for names in (graph.inputs, graph.outputs))
    assert source is not None
    assert sink is not None
    interpreter, errors = runtime.Interpreter.from_bytes(model), []
    for x, y in zip(X[TRAINED:].numpy(), Y[TRAINED:].numpy(), strict=True):
        interpreter.set_input(source.quantize(x[None]), 0)
        interpreter.invoke()
        errors.append((sink.dequantize(interpreter.get_output(0)) - y) ** 2)
    return float(np.mean(errors))
