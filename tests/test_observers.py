"""Observers: each formula against an oracle in numpy, merging, what is refused, and what a checkpoint keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import qtorch
from qtorch import Mode


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(
    "name", ["minmax", "moving_average", "percentile:99.9", "mse", "fixed:-1:1", "lsq", "lsq+"]
)
def test_every_observer_calibrates_a_network(name: str, activations: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    config = qtorch.QuantizationConfig(observer=name, weight_observer=name, activations=activations)  # type: ignore[arg-type]
    qat, x = qtorch.prepare(net, torch.zeros(1, 3), config), torch.rand(500, 3) * 2 - 1
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.FAKE)
    with torch.no_grad():
        error = (qat(x) - net(x)).pow(2).mean() / net(x).pow(2).mean()
    assert float(error) < 0.01
