"""Codes where a float function has no number or no slope: gradients stay finite, and the device's code is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from qtorch import Mode, QuantizationConfig
from qtorch.network.calibration import observe_in_training
from qtorch.network.poles import defined, finite_slopes
from qtorch.numbers.grid import Grid
from qtorch.ops import ROWS
from qtorch.row.steps_by_table import sloped, tables_of
from tests.hard_to_quantize import op_of

#: Each way in which a layer can come to its gradients.
WAYS: dict[str, dict[str, Any]] = {
    "measured": {},
    "lsq": {"scales": "lsq"},
    "lsq+": {"scales": "lsq+"},
    "pact": {"scales": "pact"},
    "ewgs": {"gradient": "ewgs"},
    "plain": {"gradient": "plain"},
}


class Directions(nn.Module):
    """Each vector over its length."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1)


class RootMeanSquare(nn.Module):
    """Each vector over its size, without a mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-7)


def in_training(layer: nn.Module, **options: Any) -> qtorch.QuantizedNetwork:
    """A layer behind another that has weights."""
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(8, 8), layer), x[:1], QuantizationConfig(**options))
    with torch.no_grad():
        # What comes in goes on, so that equal numbers meet the layer behind.
        op_of(qat, "0").get_parameter("weight").copy_(torch.eye(8))
        op_of(qat, "0").get_parameter("bias").zero_()
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    return qat.train()


#: Samples without a variance, without a length, and at either end of the grid.
UNLUCKY = torch.cat([torch.full((1, 8), each) for each in (0.0, 0.3, 9.0, -9.0)] + [torch.tensor([[9.0, -9.0] * 4])])


def require_finite(qat: qtorch.QuantizedNetwork, inputs: Tensor) -> None:
    y = qat(inputs)
    (y.sin().sum() + y.sum()).backward()
    gradients = {name: each.grad for name, each in qat.named_parameters() if each.grad is not None}
    assert gradients
    assert [name for name, grad in gradients.items() if not grad.isfinite().all()] == []


@pytest.mark.parametrize(
    "layer", [nn.LayerNorm(8), RootMeanSquare(), Directions()], ids=lambda layer: type(layer).__name__
)
@pytest.mark.parametrize("follows", [False, True], ids=["grids stay", "grids follow"])
@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_finite_at_any_code(layer: nn.Module, follows: bool, way: str) -> None:
    qat = in_training(layer, **WAYS[way])
    observe_in_training(qat, follows)
    # Who looks for NaN is told of none.
    with torch.autograd.set_detect_anomaly(True):
        require_finite(qat, UNLUCKY)


def test_a_pole_between_float_layers_and_integers_has_no_gradient() -> None:
    """The variance is rounded, and its inverse root a float kernel's, which gives infinity."""
    qat = in_training(nn.LayerNorm(8), layers={"rsqrt": {"skip": True}})
    require_finite(qat, UNLUCKY)


@pytest.mark.parametrize("way", WAYS)
def test_at_a_pole_the_device_s_code_is_computed(way: str) -> None:
    qat = in_training(nn.LayerNorm(8), **WAYS[way])
    graph = integer_graph(qat)
    device = interpret(graph, tuple(graph.encode(name, UNLUCKY.numpy()) for name in graph.inputs))
    computed = qat(UNLUCKY).detach().numpy()
    assert all(np.array_equal(graph.encode(name, computed), device[name]) for name in graph.outputs)


def test_a_grid_that_is_fixed_follows_nothing() -> None:
    """And its op is looked up still."""
    qat = in_training(nn.Tanh())
    observe_in_training(qat, True)
    assert [op_of(qat, name).output.follows for name in ("0", "1")] == [True, False]
    before = op_of(qat, "1").output.qparams()
    qat(100 * UNLUCKY)
    assert op_of(qat, "1").output.qparams() == before


def test_a_vector_of_zeros_has_the_slope_of_a_step() -> None:
    """From there to a vector of one step the device's result goes up by 128 steps of its own."""
    row, one = ROWS["l2_normalization"], torch.zeros((), dtype=torch.int32)
    grids = {"input": Grid(torch.tensor(0.01), one), "output": Grid(torch.tensor(1 / 128), one)}
    steps = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 4]], requires_grad=True)
    assert row.in_steps is not None
    row.in_steps({}, {"input": steps}, grids).sum().backward()
    # At (1, 0, 0) and (0, 3, 4) those of the direction; what saturates, at 128 of 127 steps, has none.
    direction = 128 / 125 * torch.tensor([16.0 - 12, 9 - 12])
    expected = torch.tensor([[128.0, 128, 128], [0, 128, 128], [128 / 5, direction[0], direction[1]]])
    assert steps.grad is not None
    assert torch.allclose(steps.grad, expected, rtol=1e-5)


@pytest.mark.parametrize("function", [torch.rsqrt, torch.log, torch.sqrt, torch.reciprocal, lambda x: x**-1.5])
def test_what_has_no_number_is_zero_and_what_has_no_slope_flat(function: Any) -> None:
    x = torch.tensor([-1.0, 0.0, 4.0, torch.nan], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        y = sloped(function, x)
        y.sum().backward()
    own = torch.tensor(4.0, requires_grad=True)
    function(own).backward()
    assert x.grad is not None
    assert own.grad is not None
    assert y[1:3].tolist() == [0.0, function(own).item()]
    assert y[3].isnan()
    assert y[:3].isfinite().all()
    assert x.grad[:3].isfinite().all()
    assert x.grad[1:3].tolist() == [0.0, own.grad.item()]


def test_a_table_is_flat_at_a_pole() -> None:
    grids = [Grid(torch.tensor(s), torch.tensor(-128, dtype=torch.int32)) for s in (0.01, 0.1)]
    tables = tables_of(ROWS["rsqrt"], {}, *grids)
    assert tables.values[0] == 255
    assert tables.slopes[0] == 0
    assert tables.slopes[1:-1].isfinite().all()
    assert tables.slopes[40] < 0


def quotient(x: dict[str, Tensor]) -> Tensor:
    return x["of"] / x["by"]


def operands() -> dict[str, Tensor]:
    return {
        "of": torch.tensor([6.0, 1.0, 0.0], requires_grad=True),
        "by": torch.tensor([3.0, 0.0, 0.0], requires_grad=True),
    }


def test_several_operands_have_no_slope_at_a_pole() -> None:
    x = operands()
    y = defined(quotient, x)
    assert y.tolist() == [2.0, 0.0, 0.0]
    for _ in range(2):
        y.sum().backward(retain_graph=True)
    assert x["of"].grad is not None
    assert x["by"].grad is not None
    assert torch.allclose(x["of"].grad, torch.tensor([2 / 3, 0.0, 0.0]))
    assert torch.allclose(x["by"].grad, torch.tensor([-4 / 3, 0.0, 0.0]))


def test_nan_that_is_brought_stays() -> None:
    x = operands()
    x["by"] = torch.tensor([3.0, torch.nan, 0.0])
    assert defined(quotient, x).isnan().tolist() == [False, True, True]


def test_a_gradient_that_comes_in_infinite_shows() -> None:
    """Who scales losses looks for it."""
    x = operands()
    y = finite_slopes(quotient, x)
    y.backward(torch.tensor([torch.inf, 1.0, 1.0]))
    assert all(each.grad is not None and not each.grad.isfinite().any() for each in x.values())
