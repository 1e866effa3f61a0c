"""Where a network's tensors are real numbers, and where whole steps: its ends, dropout, float layers; modes' names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from qtorch import Mode
from qtorch.capture.call_form import tensors_in
from qtorch.network.conversions import Rounded, ToReals, ToSteps
from qtorch.network.quantized_op import QuantizedOp
from qtorch.packed_state import unpacked

pytestmark = pytest.mark.usefixtures("one_thread")


class InTraining(nn.Module):
    """Between two layers, what only training does, called as a function."""

    def __init__(self, between: Callable[[Tensor, bool], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 6), nn.Linear(6, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(torch.relu(self.first(x)), self.training))


class Outputs(nn.Module):
    """Two of its outputs are read inside too, one of which dropout changes; one is its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.drop = nn.Linear(4, 4), nn.Linear(4, 4), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.first(x)
        z = self.second(self.drop(y))
        return y, z, y + z, x


NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)), {}),
    "dropout, then a curve": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Flatten(), nn.Tanh(), nn.Linear(6, 3)),
        {},
    ),
    "dropout first": (lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 6)), {}),
    "dropout last": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5)), {}),
    "two in a row": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.1), nn.Dropout(0.1), nn.Linear(6, 3)), {}),
    "called": (lambda: InTraining(lambda x, training: F.dropout(x, 0.4, training)), {}),
    "outputs": (Outputs, {}),
    "float layers in a row": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 2)),
        {"layers": {"2": {"skip": True}, "3": {"skip": True}}},
    ),
    "float layers at the ends": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6)),
        {"layers": {"0": {"skip": True}, "3": {"skip": True}}},
    ),
    "dropout between float layers": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 6), nn.Linear(6, 6)),
        {"layers": {"0": {"skip": True}, "2": {"skip": True}}},
    ),
    "called, then a curve": (
        lambda: nn.Sequential(InTraining(lambda x, training: F.dropout(x, 0.4, training).sigmoid()), nn.Linear(3, 3)),
        {},
    ),
    "learned": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 3)), {"scales": "lsq+"}),
    "learned, then a curve": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Tanh(), nn.Linear(6, 3)),
        {"scales": "lsq+"},
    ),
}  # fmt: skip


def prepared(name: str) -> tuple[fx.GraphModule, Tensor]:
    """In quantized training, and data."""
    torch.manual_seed(1)
    build, options = NETWORKS[name]
    x = torch.randn(60, 4)
    qat = qtorch.prepare(build(), x[:1], qtorch.QuantizationConfig(**options))
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    return qat, x


@pytest.mark.parametrize("name", NETWORKS)
def test_integer_layers_get_whole_steps_in_training(name: str) -> None:
    """But sums of products behind dropout, which no device computes."""
    qat, x = prepared(name)
    seen = []
    drops = "dropout" in name or name in {"two in a row", "called", "outputs", "learned"}

    def look(op: QuantizedOp, inputs: tuple[Tensor, ...]) -> None:
        for (role, source), steps in zip(op.sources.items(), inputs, strict=True):
            if role in op.takes_reals or (drops and op.has_weight):
                continue
            low, high = source.steps
            assert torch.equal(steps, steps.round())
            assert low <= float(steps.detach().min()) <= float(steps.detach().max()) <= high
            seen.append(role)

    for module in qat.modules():
        if isinstance(module, QuantizedOp):
            module.register_forward_pre_hook(look)
    sum(y.square().mean() for y in tensors_in(qat(x.requires_grad_()))).backward()
    assert seen or drops
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in qat.parameters())


@pytest.mark.parametrize("name", [name for name in NETWORKS if "float" not in name])
@pytest.mark.parametrize("gradients", [False, True])
def test_evaluation_computes_the_exported_graph(name: str, gradients: bool) -> None:
    qat, x = prepared(name)
    graph = integer_graph(qat)
    codes = tuple(graph.encode(n, x.numpy()) for n in graph.inputs)
    expected = interpret(graph, codes)
    with torch.set_grad_enabled(gradients):
        outputs = tensors_in(qat.eval()(x))
    for name_of, y in zip(graph.outputs, outputs, strict=True):
        assert np.array_equal(graph.encode(name_of, y.detach().numpy()), expected[name_of])
        # Real numbers on the grid, to the last.
        on_grid = graph.decode(name_of, expected[name_of])
        assert np.array_equal(y.detach().numpy(), on_grid.reshape(y.shape))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_takes_and_gives_real_numbers_in_every_mode(name: str) -> None:
    qat, x = prepared(name)
    results = {}
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        qtorch.set_mode(qat.eval(), mode)
        with torch.no_grad():
            results[mode] = tensors_in(qat(x))
    for real, quantized in zip(results[Mode.FLOAT], results[Mode.QUANTIZED], strict=True):
        assert float((real - quantized).abs().max()) < 0.1 * float(real.abs().max())


@pytest.mark.parametrize("name", ["dropout, then a curve", "called, then a curve"])
def test_what_dropout_leaves_is_on_the_grid_again(name: str) -> None:
    """What it leaves out is zero; what it scales up is rounded, or saturates."""
    qat, x = prepared(name)
    before, after = [], []
    first = next(m for m in qat.modules() if isinstance(m, QuantizedOp))
    first.register_forward_hook(lambda m, i, y: before.append(y.detach().clone()))
    for module in qat.modules():
        if isinstance(module, ToSteps | Rounded):
            module.register_forward_hook(lambda m, i, y: after.append(y.detach().clone()))
    qat(x)
    steps, kept = after[0], after[0] != 0
    assert torch.equal(steps, steps.round())
    assert float(kept.float().mean()) < 0.95 * float((before[0] != 0).float().mean())
    low, high = first.output.steps
    share = {"dropout": 0.5, "called": 0.6}[name.partition(",")[0]]
    apart = steps - (before[0] / share).clamp(low, high)
    assert float(apart[kept].abs().max()) < 0.51
    # In evaluation it is nothing at all.
    after.clear()
    before.clear()
    qat.eval()(x)
    assert all(torch.equal(each, before[0]) for each in after)


@pytest.mark.parametrize("name", ["dropout", "dropout first", "two in a row", "called", "outputs", "learned"])
def test_what_dropout_leaves_to_sums_is_as_it_left_it(name: str) -> None:
    """Rounded, small steps would be taken back to what they were, and the mean with them."""
    qat, x = prepared(name)
    last = [m for m in qat.modules() if isinstance(m, QuantizedOp) and m.has_weight][-1]
    seen: list[Tensor] = []
    last.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].detach()))
    qat(x)
    share = {"dropout": 0.5, "dropout first": 0.8, "two in a row": 0.81, "called": 0.6, "outputs": 0.7, "learned": 0.5}
    steps = seen[0] * share[name]
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert bool((seen[0] - seen[0].round()).abs().max() > 0.05) or share[name] == 0.5
    seen.clear()
    qat.eval()(x)
    assert torch.equal(seen[0], seen[0].round())


@pytest.mark.parametrize("name", ["dropout, then a curve", "learned, then a curve"])
def test_what_dropout_scales_up_beyond_the_grid_is_learned_from(name: str) -> None:
    """The device, without dropout, has a code for all of it."""
    qat, _ = prepared(name)
    (conversion,) = (m for m in qat.modules() if isinstance(m, Rounded))
    low, high = conversion.quantizer.steps
    steps = (torch.linspace(2 * low, 2 * high, 97)).requires_grad_()
    y = conversion(steps)
    assert torch.equal(y, steps.round().clamp(low, high))
    weights = torch.randn(97)
    (y * weights).sum().backward()
    assert torch.equal(steps.grad, weights)
    assert bool(((steps < low) | (steps > high)).any())


def test_nothing_is_converted_where_nothing_has_to_be() -> None:
    qat, _ = prepared("float layers at the ends")
    assert not any(isinstance(m, ToSteps | Rounded) for m in qat.modules())
    qat, _ = prepared("outputs")
    assert sum(isinstance(m, ToReals) for m in qat.modules()) == 4
    assert not any(isinstance(m, ToSteps | Rounded) for m in qat.modules())


# The names of modes.


@pytest.mark.parametrize("name", ["FAKE", "EXACT"])
def test_an_earlier_mode_says_what_to_write(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"Mode\.{name} is Mode\.QUANTIZED now"):
        assert getattr(Mode, name) is Mode.QUANTIZED
    assert Mode(name.lower()) is Mode.QUANTIZED
    with pytest.raises(AttributeError, match="it has FLOAT, CALIBRATE and QUANTIZED"):
        Mode.SLOW  # noqa: B018
    with pytest.raises(ValueError, match="slow"):
        Mode("slow")
    assert [mode.name for mode in Mode] == ["FLOAT", "CALIBRATE", "QUANTIZED"]


@pytest.mark.parametrize("name", ["fake", "exact"])
def test_a_state_that_was_saved_in_an_earlier_mode_is_loaded(name: str) -> None:
    qat, x = prepared("dropout")
    state = qat.state_dict()
    # Descriptions were dicts then.
    state["_extra_state"] = {**unpacked(state["_extra_state"]), "mode": name}
    again, _ = prepared("dropout")
    qtorch.set_mode(again, Mode.FLOAT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.load_state_dict(state)
    assert again.mode is Mode.QUANTIZED
    assert torch.equal(again.eval()(x), qat.eval()(x))
