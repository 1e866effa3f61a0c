"""What was quantized without training says so, wherever it goes, until it is trained."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import export
import qtorch
from qtorch.network.quantized_network import QuantizedNetwork

X = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
Y = X[:, :1] * X[:, 1:2]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 1)).eval()


def step(network: nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    nn.functional.mse_loss(network.train()(X), Y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    network.eval()


def loaded(network: QuantizedNetwork) -> QuantizedNetwork:
    other = qtorch.prepare(net(), X[:1])
    assert not other.post_training
    other.load_state_dict(network.state_dict())
    return other


def recalibrated(network: QuantizedNetwork) -> QuantizedNetwork:
    qtorch.calibrate(network, [X[:50] * 2])
    return network


WAYS: dict[str, Callable[[QuantizedNetwork], Any]] = {
    "as it is": lambda network: network,
    "copied": copy.deepcopy,
    "pickled": lambda network: pickle.loads(pickle.dumps(network)),
    "its state loaded": loaded,
    "with other ranges": recalibrated,
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_known_until_an_optimizer_steps(way: str) -> None:
    network = WAYS[way](qtorch.quantize(net(), X, correct_biases=True))
    assert network.post_training
    step(network)
    assert not network.post_training
    assert not loaded(network).post_training


def test_what_was_trained_forgets_it() -> None:
    trained, quantized = qtorch.prepare(net(), X[:1]), qtorch.quantize(net(), X)
    qtorch.calibrate(trained, [X])
    step(trained)
    quantized.load_state_dict(trained.state_dict())
    assert not quantized.post_training


def exported(network: QuantizedNetwork, targets: Tensor = Y) -> tuple[Any, str]:
    bundle = export.export_network(
        network, name="n", calibration=X[:300], test=(X[300:], targets[300:]), options=export.ExportOptions()
    )
    return bundle.metrics, bundle.report


@pytest.mark.tflm
def test_an_export_calls_it_what_it_is() -> None:
    # Ranges of larger numbers than those that come, where what the network computes is wanted: finer grids are better.
    network = qtorch.quantize(net(), 16 * X[:300], correct_biases=True)
    with torch.no_grad():
        metrics, report = exported(network, net()(X))
    assert list(metrics["test"])[-2:] == ["post_training_network", "post_training_int8"]
    assert metrics["float_network"] == "post-training network's weights in float"
    told = str(metrics["verdict"])
    assert "QAT" not in told
    assert "by post_training" not in told
    assert "quantize it by calibration on the training data alone" in told
    assert "int8, as chosen" in told
    assert "QAT network" not in report
    step(network)
    metrics, report = exported(network)
    assert list(metrics["test"])[-2:] == ["qat_network", "qat_int8"]
    assert "QAT network" in report


def test_one_weight_that_moved_a_little_is_enough() -> None:
    network = qtorch.quantize(net(), X)
    first: Tensor = next(network.parameters())
    with torch.no_grad():
        first.view(-1)[0] += 1e-6
    assert not network.post_training
