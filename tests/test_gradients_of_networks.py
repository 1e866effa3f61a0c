"""Gradients of quantized training against float arithmetic on rounded numbers, in plain autograd and real units."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from qtorch import Mode
from qtorch.families.accumulator import sum_factor
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.quantizer import Quantizer
from qtorch.numbers.fixedpoint import Multiplier, quantize_multiplier, requantize, requantize_wide
from qtorch.numbers.functional import along, round_half_away

pytestmark = pytest.mark.usefixtures("one_thread")


def straight_through(x: Tensor, quantizer: Quantizer, whole: Tensor | None = None, relu: bool = False) -> Tensor:
    """Real numbers on a quantizer's grid: gradient 1 for every code that there is, 0 beyond.

    Args:
        x: real numbers.
        quantizer: of the grid.
        whole: ``x`` in steps as the device rounds it, not held yet; if not given, its quotient in float32, rounded
            half away from zero.
        relu: whether one is fused, which is nothing but a bound on the codes.
    """
    scale, (low, high) = quantizer.scale.double(), quantizer.steps
    rounded = round_half_away(x.detach().float() / quantizer.scale).double() if whole is None else whole.double()
    low = max(low, 0) if relu else low
    value = rounded.clamp(low, high) * scale
    return torch.where((rounded >= low) & (rounded <= high), x + (value - x).detach(), value)


def as_the_device_rounds(y: Tensor, op: QuantizedOp) -> Tensor:
    """Sums of products, real numbers, in steps of the output's grid."""
    source, weight, output = op.sources["input"].scale, op.constants.integers()["weight"].grid.scale, op.output.scale
    axis = 1 if y.dim() == 4 else y.dim() - 1
    sums = torch.round(y.detach() / along(source.double() * weight.double(), axis, y.dim())).to(torch.int64)
    parts = quantize_multiplier(sum_factor(source, weight, output))
    multiplier = Multiplier(*(along(part, axis, y.dim()) for part in parts))
    return (requantize if op.output.dtype == "int8" else requantize_wide)(sums, multiplier)


def on_its_grid(weight: Tensor, op: QuantizedOp, role: str) -> Tensor:
    """A constant, rounded straight through."""
    scale = op.constants.integers()["weight"].grid.scale.double()
    if role == "bias":
        # A unit of the sums; in float32, large biases of 16 bits would be some units off.
        scale = scale * op.sources["input"].scale.double()
    scale = along(scale, op.constants.channel_axis if role == "weight" else 0, weight.dim())
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


def in_real_units(net: nn.Module, qat: Any, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
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
        y = straight_through(y, op.output, as_the_device_rounds(y, op), op.attrs["activation"] == "relu")
    return y, leaves


@pytest.mark.parametrize("options", [{}, {"weights": "per_tensor"}, {"weight_bits": 4}, {"activations": "int16"}])
# Few numbers, and more than are rescaled at a time; layers of few and of many channels.
@pytest.mark.parametrize(
    ("build", "batch"), [("perceptron", 300), ("wide", 4000), ("wide", 5000), ("image", 20), ("image", 900)]
)
def test_gradients_are_those_of_rounded_real_numbers(build: str, batch: int, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = Image() if build == "image" else Perceptron(7 if build == "perceptron" else 60)
    x = torch.randn(batch, *((2, 9, 9) if build == "image" else (5,)))
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**options))
    # On less than there is, so that some of it saturates.
    qtorch.calibrate(qat, [0.7 * x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    y = qat(x)
    weights = torch.randn(y.shape)
    (y * weights).sum().backward()
    expected, leaves = in_real_units(net, qat, x)
    assert torch.allclose(y.double(), expected, rtol=1e-6)
    (expected * weights).sum().backward()
    for name, leaf in leaves.items():
        got, wanted = qat.get_parameter(name).grad, leaf.grad
        assert got is not None
        assert wanted is not None
        assert float(wanted.abs().max()) > 0
        # The factors of 16-bit kernels have 15 bits.
        assert float((got - wanted).norm() / wanted.norm()) < (5e-5 if "activations" in options else 1e-5), name
