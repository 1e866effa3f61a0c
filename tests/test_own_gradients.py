"""Functions that say themselves what their gradient is: spikes, signs, roundings, learned steps, reversed gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from tests.between import Between, X
from tests.exact_networks import require_exact


class Spike(torch.autograd.Function):
    """A step whose gradient is that of a slope, as spiking networks train."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient / (1 + 5 * x.abs()) ** 2


class Sign(torch.autograd.Function):
    """Straight through where it is not saturated, as binary networks train; the newer form, with its context apart."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


class LearnedSteps(torch.autograd.Function):
    """A grid of a learned step, with numbers beside the tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.ends = low, high
        return (x / step).round().clamp(low, high) * step

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, step = ctx.saved_tensors
        low, high = ctx.ends
        whole = x / step
        inside = (whole >= low) & (whole <= high)
        of_step = torch.where(inside, whole.round() - whole, whole.clamp(low, high))
        return gradient * inside, (gradient * of_step).sum(), None, None


class Reversed(torch.autograd.Function):
    """Nothing, but that what is in front of it learns the contrary."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class Halves(torch.autograd.Function):
    """Two results."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.round(), x - x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] + gradients[1]


class Own(Between):
    """With a step size that is learned."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__(function)
        self.step = nn.Parameter(torch.tensor(0.2))


FORMS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "spikes": lambda net, y: Spike.apply(y),
    "spikes, and what made them": lambda net, y: y - 0.5 * Spike.apply(y),
    "signs": lambda net, y: Sign.apply(y),
    "signs of weights": lambda net, y: F.linear(y, Sign.apply(net.first.weight)),
    "learned steps": lambda net, y: LearnedSteps.apply(y, net.step, -4, 3),
    "learned steps of weights": lambda net, y: F.linear(y, LearnedSteps.apply(net.first.weight, net.step, -8, 7)),
    "a reversed gradient": lambda net, y: Reversed.apply(y) + y * 0.5,
    "one behind the other": lambda net, y: Sign.apply(F.relu(y) - Spike.apply(y)),
}


def gradients(net: nn.Module, called: nn.Module) -> dict[str, Tensor]:
    """Of a call in training, by the names of ``net``."""
    net.zero_grad()
    y = called.train()(X)
    (y * torch.arange(1.0, y.shape[1] + 1)).sum().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", FORMS)
def test_what_a_function_says_is_its_gradient(name: str) -> None:
    """The network's own in floats; in the device's integers each parameter that has one there has one, and near it."""
    net = Own(FORMS[name])
    prepared = qtorch.prepare(net, X[:1])
    own, mine = gradients(net, net), gradients(net, prepared)
    assert mine.keys() == own.keys()
    assert all(torch.allclose(mine[each], own[each], rtol=1e-4, atol=1e-5) for each in own)
    qtorch.calibrate(prepared, [X])
    qtorch.set_mode(prepared, qtorch.Mode.QUANTIZED)
    quantized = gradients(net, prepared)
    for each, gradient in own.items():
        if bool(gradient.abs().max() > 1e-6):
            assert float(F.cosine_similarity(quantized[each].flatten(), gradient.flatten(), 0)) > 0.9, each


@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_the_device_computes_its_forward_pass(name: str) -> None:
    require_exact(Own(FORMS[name]).eval(), torch.rand(32, 8))


def test_a_gradient_that_is_not_taken_over_is_named_with_a_form_that_has_it() -> None:
    with pytest.warns(
        UserWarning, match=r"torch\.autograd\.Function of several .* soft \+ \(hard - soft\)\.detach\(\)"
    ):
        qtorch.prepare(Own(lambda net, y: torch.add(*Halves.apply(y))), X[:1])

    def spiking(net: Between, y: Tensor) -> Tensor:
        soft = torch.sigmoid(4 * y)
        return soft + ((y > 0).float() - soft).detach()

    net = Own(spiking)
    prepared = qtorch.prepare(net, X[:1])
    qtorch.calibrate(prepared, [X])
    qtorch.set_mode(prepared, qtorch.Mode.QUANTIZED)
    assert bool(gradients(net, prepared)["first.weight"].any())
