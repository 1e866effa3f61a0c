"""A prepared network's state dict holds tensors alone: what others write and average takes that for granted."""

from __future__ import annotations

import copy
import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.parity import outputs
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

    assert packed(state).dtype == torch.int16
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


def averaged(kind: str, states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """As loops of their own do it, over all entries."""
    mean = {name: each.clone() for name, each in states[0].items()}
    for state in states[1:]:
        for name, each in state.items():
            if kind == "exponential":
                mean[name] = 0.999 * mean[name] + (1 - 0.999) * each
            else:
                mean[name] += each
    if kind == "sum":
        mean = {n: m / len(states) if m.is_floating_point() else m // len(states) for n, m in mean.items()}
    return mean


@pytest.mark.parametrize("kind", ["exponential", "sum"])
@pytest.mark.parametrize("count", [3, 20])
def test_averages_of_many_states_of_a_run_are_one(kind: str, count: int) -> None:
    """Floats next to the integers that they were, and sums beyond what a byte holds."""
    qat, again = quantized(), qtorch.prepare(layers(1), X[:1])
    again.load_state_dict(averaged(kind, [qat.state_dict() for _ in range(count)]))
    assert again.mode is Mode.QUANTIZED
    assert {n: float(q.scale) for n, q in qtorch.quantizers(again).items()} == {
        n: float(q.scale) for n, q in qtorch.quantizers(qat).items()
    }


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("choices", [{}, {"scales": "lsq"}, {"observer": "moving_average"}])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_distributed_checkpoint_fills_a_network_that_was_just_prepared(
    tmp_path: Path, choices: dict[str, Any], frozen: bool
) -> None:
    """It reads into the tensors that are there, of the sizes that they have."""
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    qat = quantized(**choices)
    if frozen:
        qtorch.freeze_batch_norm(qat)
    else:
        qat.train()(X)
        qat.eval()
    checkpoint.save({"net": qat.state_dict()}, checkpoint_id=str(tmp_path / "it"), no_dist=True)
    again = qtorch.prepare(layers(1), X[:1], QuantizationConfig(**choices))
    there = {"net": again.state_dict()}
    checkpoint.load(there, checkpoint_id=str(tmp_path / "it"), no_dist=True)
    again.load_state_dict(there["net"])
    assert torch.equal(again.eval()(X), qat(X))


def test_a_state_of_a_version_before_is_loaded() -> None:
    """Entries were dicts of tensors and plain values."""
    qat = quantized()
    again = qtorch.prepare(layers(1), X[:1])
    again.load_state_dict(
        {name: unpacked(each) if name.endswith("_extra_state") else each for name, each in qat.state_dict().items()}
    )
    assert torch.equal(again.eval()(X), qat.eval()(X))


@pytest.mark.parametrize("choices", [{}, {"scales": "lsq"}, {"weight_bits": 4}])
def test_a_network_that_was_emptied_takes_it(choices: dict[str, Any]) -> None:
    """Memory that nothing has written to yet is filled here with what it may hold."""
    qat, other = quantized(**choices), quantized(**choices)
    state = copy.deepcopy(qat.state_dict())
    other.to_empty(device="cpu")
    other._apply(lambda tensor: torch.full_like(tensor, 3) if tensor.is_floating_point() else tensor)
    other.load_state_dict(state)
    assert torch.equal(other.eval()(X), qat.eval()(X))


def test_parts_of_a_state_are_told_from_the_whole() -> None:
    """As where another head is trained, and what fits is taken."""
    state, other = quantized().state_dict(), qtorch.prepare(layers(1), X[:1])
    parts = {name: each for name, each in state.items() if name.startswith("0.")}
    with pytest.raises(BadCheckpoint, match="layers of a prepared one without its entry '_extra_state'"):
        other.load_state_dict(parts, strict=False)
    weights = {name: each for name, each in parts.items() if not name.endswith("_extra_state")}
    other.load_state_dict(weights, strict=False)
    assert torch.equal(other.get_parameter("0.weight"), state["0.weight"])


class Elsewhere(nn.Module):
    """Weights on another device than what is packed, which comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, device="meta")

    def get_extra_state(self) -> Tensor:
        return packed(None)

    def forward(self, x: Tensor) -> Tensor:
        raise InterruptedError(x.device.type)


def test_the_network_s_own_side_of_parity_runs_where_its_weights_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = Elsewhere()
    monkeypatch.setattr(outputs, "in_mode", lambda *_: nullcontext())
    with pytest.raises(InterruptedError, match="meta"):
        outputs.network_codes(network, integer_graph(quantized()), (np.zeros((2, 6, 6, 1), np.int8),))
