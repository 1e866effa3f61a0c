"""Gradients of quantized training against float arithmetic on rounded numbers, in plain autograd and real units."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch import Mode
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.numbers.functional import along

pytestmark = pytest.mark.usefixtures("one_thread")


def straight_through(x: Tensor, quantizer: Quantizer, whole: Tensor | None = None) -> Tensor:
    """Real numbers on a quantizer's grid: gradient 1 for every code that there is, 0 beyond."""
    scale, (low, high) = quantizer.scale.double(), quantizer.steps
    steps = (x / scale).detach()
    rounded = torch.sign(steps) * torch.floor(steps.abs() + 0.5)
    inside = (rounded >= low) & (rounded <= high)
    value = (rounded.clamp(low, high) if whole is None else whole.double()) * scale
    return torch.where(inside, x + (value - x).detach(), value)


def on_its_grid(weight: Tensor, op: QuantizedOp, role: str) -> Tensor:
    """A constant, rounded straight through."""
    constant = op.constants.integers()[role]
    axis = op.constants.channel_axis if role == "weight" else 0
    scale = along(constant.grid.scale, axis, weight.dim()).double()
    whole = op.constants.in_steps()[0][role].detach().double()
    return weight + (whole * scale - weight).detach()


class Perceptron(nn.Module):
    """Small enough that its layers are computed at once, or not."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


class Image(nn.Module):
    """Convolutions, strided and depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, stride=2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.last = nn.Conv2d(6, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.second(F.relu(self.first(x)))))


def in_real_units(net: nn.Module, qat: Any, x: Tensor, whole: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """What the network computes with its constants and results rounded, in double, and its parameters' copies."""
    leaves = {name: p.detach().double().requires_grad_() for name, p in net.named_parameters()}
    ops = {name: op for name, op in qat.named_modules() if isinstance(op, QuantizedOp)}
    y = straight_through(x.double(), next(iter(ops.values())).sources["input"])
    for name, op in ops.items():
        layer = net.get_submodule(name)
        weight = on_its_grid(leaves[f"{name}.weight"], op, "weight")
        bias = on_its_grid(leaves[f"{name}.bias"], op, "bias") if layer.bias is not None else None
        if isinstance(layer, nn.Conv2d):
            y = F.conv2d(y, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        else:
            y = F.linear(y, weight, bias)
        if op.attrs["activation"] == "relu":
            # But for half a step a bound on the codes: what rounds to zero has the gradient of a code.
            y = torch.where(y / op.output.scale > -0.5, y, 0 * y.detach())
        y = straight_through(y, op.output, whole[name])
    return y, leaves


@pytest.mark.parametrize("options", [{}, {"weights": "per_tensor"}, {"weight_bits": 4}, {"activations": "int16"}])
# Few numbers, and more than are rescaled at a time; layers of few and of many channels.
@pytest.mark.parametrize(("build", "batch"), [("perceptron", 300), ("wide", 4000), ("image", 20), ("image", 900)])
def test_gradients_are_those_of_rounded_real_numbers(build: str, batch: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = Image() if build == "image" else Perceptron(7 if build == "perceptron" else 60)
    x = torch.randn(batch, *((2, 9, 9) if build == "image" else (5,)))
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**options))
    # On less than there is, so that some of it saturates.
    qtorch.calibrate(qat, [0.7 * x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    whole: dict[str, Tensor] = {}
    for name, op in qat.named_modules():
        if isinstance(op, QuantizedOp):
            op.register_forward_hook(lambda m, i, y, name=name: whole.__setitem__(name, y.detach().clone()))
    y = qat(x)
    weights = torch.randn(y.shape)
    (y * weights).sum().backward()
    expected, leaves = in_real_units(net, qat, x, whole)
    assert torch.allclose(y.double(), expected, rtol=1e-6)
    (expected * weights).sum().backward()
    for name, leaf in leaves.items():
        got, wanted = qat.get_parameter(name).grad, leaf.grad
        assert got is not None
        assert wanted is not None
        assert float(wanted.abs().max()) > 0
        # Whether a number within the first rounding's step of an end lies beyond it, two roundings and one may say
        # otherwise: that is a number in some hundred, of which there are none where there are few.
        assert float((got - wanted).norm() / wanted.norm()) < (1e-3 if batch < 500 else 0.05), name
