"""Observers: each formula against an oracle in numpy, merging, what is refused, and what a checkpoint keeps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import Mode
from qtorch.observers import Observer, make_observer


def make_observer_of(name: str, x: Tensor, axis: int | None = None, levels: int = 256) -> Observer:
    """The observer ``name`` after it has seen ``x``."""
    observer = make_observer(name, axis, levels)
    observer.observe(x)
    return observer


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(
    "name", ["minmax", "moving_average", "percentile:99.9", "mse", "entropy", "fixed:-1:1", "lsq", "lsq+"]
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


@pytest.mark.parametrize("values", [[0.105, 0.5, 0.9], [-0.105, 0.9], [1.0], [-3.0, 3.0]])
def test_entropy_keeps_few_values(values: list[float]) -> None:
    low, high = make_observer_of("entropy", torch.tensor(values), levels=255).range()
    assert float(torch.maximum(-low, high)) == pytest.approx(max(map(abs, values)), rel=2**-10)
