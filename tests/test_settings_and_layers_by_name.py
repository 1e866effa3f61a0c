"""Settings and layers of a prepared network go by name: one without effect is named, one that is not there refused."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import QuantizationConfig
from qtorch.errors import BadConfiguration
from tests.test_network_state import X, layers, prepared


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"conv*": {"weight_bits": 4}}, r"layers\['conv\*'\] has no effect: no layer is called so, there are 0, 1"),
        ({"1": {"weight_bits": 4}}, r"layers\['1'\]: weight_bits has no effect on 1, which has no weights"),
        ({"1": {"observer": "mse"}}, r"layers\['1'\]: observer has no effect on 1, whose values lie on a grid that"),
        ({"[12]": {"weights": "per_tensor"}}, r"weights has no effect on 1, 2"),
    ],
)
def test_settings_without_effect_are_named(settings: dict[str, Any], words: str) -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 2))
    with pytest.warns(UserWarning, match=words):
        qtorch.prepare(net, torch.zeros(1, 2, 6), QuantizationConfig(layers=settings))


def test_settings_with_an_effect_pass() -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 3), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 2))
    settings = {
        "*": {"weight_bits": 4},
        "0": {"observer": "mse", "margin": 0.1},
        "3": {"skip": True},
        "input*": {"margin": 0.1},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qtorch.prepare(net, torch.zeros(1, 2, 6), QuantizationConfig(layers=settings))


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x)], 1)


def test_an_observer_at_a_branch_without_a_grid_is_named() -> None:
    """Of two branches that share a grid one has the observer."""
    said = []
    for branch in ("a", "b"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            qtorch.prepare(Joined(), X[:1], QuantizationConfig(layers={branch: {"observer": "mse"}}))
        said += [f"{each.message}" for each in caught if "has no effect" in f"{each.message}"]
    (message,) = said
    assert "observer has no effect on" in message
    assert "whose values lie on a grid that another layer" in message


@pytest.mark.parametrize(
    ("index", "kind"),
    [(0, qtorch.QuantizedOp), (2, qtorch.QuantizedOp), (-1, qtorch.QuantizedOp), (slice(0, 2), nn.ModuleList)],
)
def test_layers_of_a_sequential_are_found_by_number(index: Any, kind: type) -> None:
    net = layers()
    qat = prepared(net)
    assert isinstance(qat[index], kind)
    assert {id(p) for p in net[index].parameters()} == {id(p) for p in qat[index].parameters()}


def test_layers_that_are_not_there_are_refused_in_words() -> None:
    qat = prepared()
    with pytest.raises(BadConfiguration, match="a ReLU, which another layer computes now"):
        qat[1]
    with pytest.raises(IndexError):
        qat[3]
    with pytest.raises(BadConfiguration, match=r"call self\.net"):
        qat[:2](X)
    with pytest.raises(BadConfiguration, match="before it is prepared"):
        qat[0] = nn.Linear(6, 8)
    with pytest.raises(TypeError, match="a Joined has no layers by number"):
        prepared(Joined())[0]
