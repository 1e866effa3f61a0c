"""Which route a layer takes, and that it is chosen anew by whatever it depends on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils import prune

import qtorch
from qtorch import Mode
from qtorch.network import routes
from qtorch.network.calibration import observe_in_training
from tests.hard_to_quantize import op_of

DENSE = lambda: nn.Sequential(nn.Linear(4, 3))  # noqa: E731


def calibrated(build: Callable[[], nn.Module], **options: Any) -> tuple[fx.GraphModule, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(20, 4)
    qat = qtorch.prepare(build(), x[:1], qtorch.QuantizationConfig(**options))
    qtorch.calibrate(qat, [x])
    return qat, x


@pytest.mark.parametrize(
    ("build", "options", "fake", "exact"),
    [
        (DENSE, {}, "sum_of_products", "exact"),
        (DENSE, {"scales": "lsq"}, "fake", "exact"),
        (DENSE, {"scales": "pact"}, "sum_of_products", "exact"),
        (DENSE, {"weight_observer": "mse"}, "fake", "exact"),
        (DENSE, {"activations": "int16"}, "fake", "exact"),
        (DENSE, {"gradient": "ewgs"}, "fake", "exact"),
        (DENSE, {"layers": {"0": {"skip": True}}}, "skipped", "skipped"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), {}, "normalizing", "exact"),
        (lambda: nn.Sequential(nn.Sigmoid()), {}, "exact", "exact"),
        (lambda: nn.Sequential(nn.ReLU6()), {}, "fake", "exact"),
        (lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Flatten()), {}, "selecting", "selecting"),
    ],
)
def test_a_mode_is_a_route(build: Callable[[], nn.Module], options: dict[str, Any], fake: str, exact: str) -> None:
    qat, _ = calibrated(build, **options)
    op = next(m for m in qat.modules() if isinstance(m, qtorch.QuantizedOp))
    names = {Mode.FLOAT: "float", Mode.CALIBRATE: "float", Mode.QUANTIZED: fake, Mode.QUANTIZED: exact}
    for mode, name in names.items():
        qtorch.set_mode(qat, mode)
        assert op.route is getattr(routes, f"{name}_route")
        assert copy.deepcopy(op).route is op.route


def test_a_flag_chooses_anew() -> None:
    qat, _ = calibrated(lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)))
    normalized, plain = op_of(qat, "0"), op_of(qat, "3")
    qtorch.set_mode(qat, Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    assert normalized.route is routes.fake_route
    qtorch.freeze_batch_norm(qat, False)
    assert normalized.route is routes.normalizing_route
    observe_in_training(qat, True)
    assert plain.route is routes.fake_route
    observe_in_training(qat, False)
    assert plain.route is routes.sum_of_products_route


def test_a_scale_that_was_pinned_or_loaded_chooses_anew() -> None:
    """The fast route takes the weight's largest magnitude for what its scale covers."""
    (pinned, x), (other, _) = calibrated(DENSE), calibrated(DENSE)
    before = copy.deepcopy(other.state_dict())
    for qat in (pinned, other):
        qtorch.set_mode(qat, Mode.QUANTIZED)
    op, scale = op_of(pinned, "0"), op_of(pinned, "0").constants.integers()["weight"].grid.scale
    op.pin_weight(op.get_parameter("weight").detach(), 0.5 * scale)
    assert op.route is routes.fake_route
    other.load_state_dict(pinned.state_dict())
    assert op_of(other, "0").route is routes.fake_route
    with torch.no_grad():
        assert torch.equal(other(x), pinned(x))
    other.load_state_dict(before)
    qtorch.set_mode(other, Mode.QUANTIZED)
    assert op_of(other, "0").route is routes.sum_of_products_route


def test_the_routes_of_one_layer_agree() -> None:
    """Without gradients the fast one gives what the general one does, to the bit."""
    qat, x = calibrated(lambda: nn.Sequential(nn.Linear(4, 30), nn.ReLU()))
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    op = op_of(qat, "0")
    with torch.no_grad():
        x = qat.get_submodule("input_1_quantizer")(x)
        assert torch.equal(routes.sum_of_products_route(op, x), routes.fake_route(op, x))
        assert torch.equal(routes.fake_route(op, x), routes.exact_route(op, x))


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
    exact = qat(x)
    qtorch.set_mode(qat, Mode.QUANTIZED)
    apart = (qat(x) - exact).detach().abs()
    assert float(apart.max()) <= 1.01 * float(op.output.scale)


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
