"""A prepared network's state dict holds tensors alone: what others write and average takes that for granted."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import Mode, QuantizationConfig
from qtorch.errors import BadCheckpoint
from qtorch.packed_state import packed, unpacked

X = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def layers(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).eval()


def quantized(**choices: Any) -> qtorch.QuantizedNetwork:
    qat = qtorch.prepare(layers(), X[:1], QuantizationConfig(**choices))
    qtorch.calibrate(qat, [X])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    return qat


@pytest.mark.parametrize(
    "state",
    [
        {"a": torch.tensor(0.1), "b": [torch.arange(3, dtype=torch.int16), (1, "two", None)], "c": {}},
        torch.tensor([float("nan"), float("inf"), -0.0], dtype=torch.float64),
        (torch.zeros(0, 2), torch.tensor([True, False]), torch.tensor([1.5, -2], dtype=torch.bfloat16)),
        None,
    ],
)
def test_what_is_packed_comes_back(state: Any) -> None:
    def same(one: Any, other: Any) -> bool:
        if isinstance(one, Tensor):
            return one.dtype == other.dtype and torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
        if isinstance(one, dict):
            return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
        if isinstance(one, list | tuple):
            return len(one) == len(other) and all(map(same, one, other))
        return bool(one == other)

    assert packed(state).dtype == torch.uint8
    assert same(state, unpacked(packed(state)))


@pytest.mark.parametrize("choices", [{}, {"scales": "lsq+"}, {"scales": "pact", "observer": "entropy"}])
def test_a_state_has_tensors_alone_and_makes_the_same_network(choices: dict[str, Any]) -> None:
    qat = quantized(**choices)
    state = qat.state_dict()
    assert all(isinstance(each, Tensor) for each in state.values())
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    again = qtorch.prepare(layers(1), X[:1], QuantizationConfig(**choices))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again.eval()(X), qat.eval()(X))


def test_safetensors_writes_and_reads_it(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="needs safetensors: pip install safetensors")
    qat = quantized()
    safetensors.save_model(qat, str(tmp_path / "it.safetensors"))
    again = qtorch.prepare(layers(1), X[:1])
    assert safetensors.load_model(again, str(tmp_path / "it.safetensors")) == (set(), [])
    assert torch.equal(again.eval()(X), qat.eval()(X))


def test_an_average_of_a_runs_states_is_one_and_of_other_ranges_is_none() -> None:
    """Averages by hand go over all entries of a state; as timm's ModelEmaV2 does."""
    qat = quantized()
    mean = copy.deepcopy(qat)
    with torch.no_grad():
        for parameter in mean.parameters():
            parameter.add_(0.01)
    one, other = qat.state_dict(), mean.state_dict()
    half = {name: 0.5 * one[name] + 0.5 * other[name] for name in one}
    qat.load_state_dict(half)
    assert torch.allclose(qat.get_parameter("4.weight"), mean.get_parameter("4.weight") - 0.005)
    qtorch.calibrate(mean, [3 * X])
    qtorch.set_mode(mean, Mode.QUANTIZED)
    other = mean.state_dict()
    with pytest.raises(BadCheckpoint, match=r"expected the bytes that were saved, .*average the parameters alone"):
        qat.load_state_dict({name: 0.5 * one[name] + 0.5 * other[name] for name in one})


def test_a_state_of_a_version_before_is_loaded() -> None:
    """Entries were dicts of tensors and plain values."""
    qat = quantized()
    again = qtorch.prepare(layers(1), X[:1])
    again.load_state_dict(
        {name: unpacked(each) if name.endswith("_extra_state") else each for name, each in qat.state_dict().items()}
    )
    assert torch.equal(again.eval()(X), qat.eval()(X))
