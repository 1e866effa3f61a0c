"""Which route a layer takes, and that it is chosen anew by whatever it depends on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import prune

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from qtorch import Mode
from qtorch.network import routes
from qtorch.numbers.straight_through import Ends, normalized_and_held
from tests.hard_to_quantize import op_of

DENSE = lambda: nn.Sequential(nn.Linear(4, 3))  # noqa: E731


def calibrated(build: Callable[[], nn.Module], **options: Any) -> tuple[fx.GraphModule, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(20, 4)
    qat = qtorch.prepare(build(), x[:1], qtorch.QuantizationConfig(**options))
    qtorch.calibrate(qat, [x])
    return qat, x


class Sum(nn.Module):
    """A tensor and itself, and a product, which depends on two codes."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x * x


class Shares(nn.Module):
    """A softmax, of which a code depends on a row of codes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, -1)


NORMALIZED = lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))  # noqa: E731


@pytest.mark.parametrize(
    ("build", "options", "name"),
    [
        (DENSE, {}, "sums"),
        (DENSE, {"scales": "lsq"}, "sums"),
        (DENSE, {"scales": "pact"}, "sums"),
        (DENSE, {"weight_observer": "mse"}, "sums"),
        (DENSE, {"activations": "int16"}, "sums"),
        (DENSE, {"gradient": "ewgs"}, "sums"),
        (DENSE, {"layers": {"0": {"skip": True}}}, "skipped"),
        (NORMALIZED, {}, "normalizing"),
        (nn.Sigmoid, {}, "looked_up"),
        (nn.Sigmoid, {"activations": "int16"}, "looked_up"),
        (nn.Sigmoid, {"gradient": "ewgs"}, "twice"),
        # A table of its own grids holds no longer than a step where one is learned.
        (nn.Hardswish, {"scales": "lsq"}, "twice"),
        (nn.Hardswish, {}, "looked_up"),
        (Sum, {}, "stepwise"),
        (Sum, {"scales": "lsq+"}, "twice"),
        (Sum, {"gradient": "plain"}, "twice"),
        (Shares, {}, "twice"),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Flatten()), {}, "selecting"),
    ],
)
def test_a_mode_is_a_route(build: Callable[[], nn.Module], options: dict[str, Any], name: str) -> None:
    qat, _ = calibrated(build, **options)
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    for mode, taken in {Mode.FLOAT: "float", Mode.CALIBRATE: "float", Mode.QUANTIZED: name}.items():
        qtorch.set_mode(qat, mode)
        assert op.route is getattr(routes, f"{taken}_route")
        assert copy.deepcopy(op).route is op.route


def test_a_flag_chooses_anew() -> None:
    qat, _ = calibrated(lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)))
    normalized = op_of(qat, "0")
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    assert normalized.route is routes.sums_route
    qtorch.freeze_batch_norm(qat, False)
    assert normalized.route is routes.normalizing_route


def test_a_norm_that_does_not_normalize_by_the_batch_is_folded() -> None:
    """In evaluation, and where a loop of one's own puts it into evaluation alone."""
    qat, x = calibrated(NORMALIZED)
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    by_batch = qat(x)
    statistics = copy.deepcopy(qat.state_dict())
    norm = next(m for m in qat.modules() if isinstance(m, nn.BatchNorm1d))
    norm.eval()
    alone = qat(x)
    assert torch.equal(qat.eval()(x), alone)
    qtorch.freeze_batch_norm(qat.train())
    assert torch.equal(qat(x), alone)
    assert not torch.equal(by_batch, alone)
    assert torch.equal(norm.running_mean, statistics["1.running_mean"])


def test_a_scale_that_was_pinned_or_loaded_is_taken() -> None:
    (pinned, x), (other, _) = calibrated(DENSE), calibrated(DENSE)
    before, own = copy.deepcopy(other.state_dict()), {}
    for name, qat in (("pinned", pinned), ("other", other)):
        qtorch.set_mode(qat, Mode.QUANTIZED)
        own[name] = qat(x)
    op, scale = op_of(pinned, "0"), op_of(pinned, "0").constants.integers()["weight"].grid.scale
    op.pin_weight(op.get_parameter("weight").detach(), 0.5 * scale)
    # Of the highest weights half is left.
    assert not torch.equal(pinned(x), own["pinned"])
    assert int(op.constants.in_steps()[0]["weight"].detach().abs().eq(127).sum()) > 3
    other.load_state_dict(pinned.state_dict())
    assert torch.equal(other(x), pinned(x))
    other.load_state_dict(before)
    qtorch.set_mode(other, Mode.QUANTIZED)
    assert torch.equal(other(x), own["other"])


def steps_in(qat: fx.GraphModule, x: Tensor) -> tuple[qtorch.QuantizedOp, list[Tensor]]:
    """The first op, and what comes in there."""
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    return op, [source(x) for source in op.sources.values()]


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 30), nn.ReLU()), {}),
        (lambda: nn.Sequential(nn.Linear(4, 30), nn.ReLU6()), {"activations": "int16"}),
        (lambda: nn.Sequential(nn.Linear(4, 30)), {"weights": "per_tensor", "weight_bits": 4}),
        (Sum, {}),
        (nn.Tanh, {}),
        (nn.Tanh, {"activations": "int16"}),
    ],
)
def test_the_routes_of_one_layer_agree(build: Callable[[], nn.Module], options: dict[str, Any]) -> None:
    """What is computed once, with and without gradients, and what the row's reference says, to the last."""
    qat, _ = calibrated(build, **options)
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    op, inputs = steps_in(qat, 2 * torch.randn(3000, 4))
    with torch.no_grad():
        reference = routes.twice_route(op, *inputs)
        assert torch.equal(op(*inputs), reference)
    assert torch.equal(op(*[x.requires_grad_() for x in inputs]), reference)


@pytest.mark.parametrize("build", [Sum, nn.Tanh])
def test_what_is_computed_once_has_the_gradients_of_what_is_computed_twice(build: Callable[[], nn.Module]) -> None:
    qat, _ = calibrated(build)
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    op, inputs = steps_in(qat, torch.randn(3000, 4))
    weights, found = torch.randn(3000, 4), []
    for route in (op.route, routes.twice_route):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        (route(op, *leaves) * weights).sum().backward()
        found.append(torch.stack([leaf.grad for leaf in leaves]))
    once, twice = found
    # What the device rounds twice may lie beyond the grid's end where floats do not.
    apart = (once - twice).abs() > 1e-4 * twice.abs() + 1e-6
    assert float(apart.float().mean()) < 0.01


def test_a_copy_s_constants_are_its_own() -> None:
    qat, _ = calibrated(DENSE)
    copied = copy.deepcopy(qat)
    with torch.no_grad():
        copied.get_parameter("0.weight").zero_()
    assert int(op_of(copied, "0").constants.integers()["weight"].codes.abs().max()) == 0
    assert int(op_of(qat, "0").constants.integers()["weight"].codes.abs().max()) == 127


@pytest.mark.parametrize("options", [{}, {"weight_observer": "mse"}, {"scales": "lsq"}])
def test_a_weight_s_grid_follows_to_another_device(options: dict[str, Any]) -> None:
    qat, _ = calibrated(DENSE, **options)
    grid = op_of(qat.to("meta"), "0").constants.weight_grid
    assert {tensor.device.type for tensor in vars(grid).values() if isinstance(tensor, Tensor)} == {"meta"}


@pytest.mark.parametrize("role", ["weight", "bias"])
def test_a_constant_that_pruning_computes_is_not_left_out(role: str) -> None:
    qat, x = calibrated(DENSE)
    op = op_of(qat, "0")
    with torch.no_grad():
        op.bias.add_(1.0)
    prune.random_unstructured(op, role, 1)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    pruned = qat(x)
    graph = integer_graph(qat)
    device = interpret(graph, tuple(graph.encode(name, x.numpy()) for name in graph.inputs))
    assert all(np.array_equal(graph.encode(name, pruned.detach().numpy()), device[name]) for name in graph.outputs)
    stored = op.constants.integers()[role].codes
    assert int((stored == 0).sum()) >= 1


def test_a_range_is_followed_where_a_quantizer_itself_is_told_to() -> None:
    qat, x = calibrated(DENSE)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qat.train()
    output = op_of(qat, "0").output
    before = float(output.scale)
    output.observing = True
    qat(x * 30)
    assert float(output.scale) > 2 * before


@pytest.mark.parametrize("mode", list(Mode))
def test_a_shallow_copy_computes_with_its_own_parameters(mode: Mode) -> None:
    qat, x = calibrated(DENSE)
    qtorch.set_mode(qat, mode)
    op = op_of(qat, "0")
    shallow, replica = copy.copy(op), op._replicate_for_data_parallel()
    shallow._parameters = {name: nn.Parameter(0.5 * each.detach()) for name, each in op._parameters.items()}
    for name, each in shallow._parameters.items():
        setattr(replica, name, each.detach())
    wanted = copy.deepcopy(op)
    wanted.load_state_dict(shallow.state_dict())
    assert not torch.equal(wanted(x), op(x))
    assert torch.equal(shallow(x), wanted(x))
    assert torch.equal(replica(x), wanted(x))


@pytest.mark.parametrize("count", [2**12, 2**20 + 1])
@pytest.mark.parametrize("ends", [Ends(-100, 155), Ends(0, 24, True, True)])
def test_what_a_norm_computed_is_rounded_and_held_however_much_it_is(count: int, ends: Ends) -> None:
    """Gradients pass where the number lies within half a step of the ends."""
    real = (torch.rand(count, generator=torch.Generator().manual_seed(0)) * 400 - 200).requires_grad_()
    held = normalized_and_held(real * 1, None, ends, overwrite=True)
    held.sum().backward()
    assert torch.equal(held, real.round().clamp(ends.low, ends.high))
    assert real.grad is not None
    assert torch.equal(real.grad, ((real > ends.low - 0.5) & (real < ends.high + 0.5)).float())
