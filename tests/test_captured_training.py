"""What was captured trains as the network does: its noise, its gradients, its frozen parts, or a word about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from tests.between import Between, Function, X, scaled


def dropped(net: Between, y: Tensor) -> Tensor:
    return F.dropout(y, 0.5, net.training)


def noisy(net: Between, y: Tensor) -> Tensor:
    if net.training:
        y = y + torch.randn(y.shape[0], 8) * 0.1
    return y


def noisy_like(net: Between, y: Tensor) -> Tensor:
    return y + torch.randn_like(y) if net.training else y


def drawn(net: Between, y: Tensor) -> Tensor:
    """As policies do: a sample in training, the mean in evaluation, and a scale of its own."""
    distribution = torch.distributions.Normal(y, y.clamp(-2, 1).exp())
    return distribution.rsample() if net.training else distribution.mean


def skipping(net: Between, y: Tensor) -> Tensor:
    if not net.training:
        return y
    return y * (torch.rand(y.shape[0], 1) > 0.5).float() / 0.5


class DropPath(nn.Module):
    """Stochastic depth that no tracer can follow in training."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * 0 if float(torch.rand(1)) > 0.5 else x * 2


class Seeded(nn.Module):
    """Noise of NumPy, which a tracer sees as a constant."""

    numbers = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        return x + float(self.numbers.random()) if self.training else x


class Skipped(Between):
    def __init__(self) -> None:
        super().__init__(lambda net, y: y + net.drop(F.relu(y)))
        self.drop = DropPath()


@pytest.mark.parametrize("training", [True, False], ids=["prepared-in-training", "prepared-in-evaluation"])
@pytest.mark.parametrize(
    "make",
    [*(lambda f=f: Between(f) for f in (dropped, noisy, noisy_like, drawn, scaled, skipping)), Skipped],
    ids=["dropout", "noise", "noise-like", "distribution", "branch", "stochastic-depth", "layer"],
)
def test_training_and_evaluation_are_each_as_the_network_has_them(make: Callable[[], Between], training: bool) -> None:
    net = make().train(training)
    qat = qtorch.prepare(net, X[:1])
    assert torch.allclose(qat.eval()(X), net.eval()(X), atol=1e-6)
    pairs = []
    for seed in range(6):
        pairs.append([])
        for each in (qat.train(), net.train()):
            torch.manual_seed(seed)
            pairs[-1].append(each(X))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert not torch.allclose(qat.train()(X), qat.eval()(X))
    qtorch.calibrate(qat, [X])
    assert qat.get_submodule("last").quantizer.observer is not None  # type: ignore[union-attr]


def test_noise_of_weights_is_left_out_with_a_word() -> None:
    def noise_of_weights(net: Between, y: Tensor) -> Tensor:
        weight = net.first.weight
        return F.linear(y, weight + 0.1 * torch.randn_like(weight) if net.training else weight)

    net = Between(noise_of_weights).train()
    with pytest.warns(UserWarning, match=r"in training .* by constant .*one that is drawn at random in training; what"):
        qat = qtorch.prepare(net, X[:1])
    assert torch.allclose(qat.eval()(X), net.eval()(X), atol=1e-6)
    assert torch.equal(qat.train()(X), qat.eval()(X))


@pytest.mark.parametrize("layer", [True, False])
def test_noise_that_is_not_torchs_own_goes_on_or_is_named(layer: bool) -> None:
    noise = Seeded()
    net = Between(lambda net, y: net.noise(y))
    net.noise = noise
    if layer:
        qat = qtorch.prepare(net, X[:1]).train()
    else:
        inline = Between(lambda net, y: y + float(Seeded.numbers.random()) if net.training else y)
        with pytest.warns(UserWarning, match=r"in training.*numbers that its own code draws"):
            qat = qtorch.prepare(inline, X[:1]).train()
    assert torch.equal(qat(X), qat(X)) is not layer


def drop_path(x: Tensor, p: float, training: bool) -> Tensor:
    """Stochastic depth as libraries write it: in place, on a tensor of a size that is asked for."""
    if not training:
        return x
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - p)
    mask.div_(1 - p)
    return x * mask


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


@pytest.mark.parametrize(
    "function", [lambda net, y: y + drop_path(y, 0.5, net.training), lambda net, y: Straight.apply(y) + y]
)
def test_gradients_and_values_in_training_are_the_networks(function: Function) -> None:
    net = Between(function)
    qat = qtorch.prepare(net, X[:1]).train()
    results = []
    for each in (qat, net.train()):
        torch.manual_seed(1)
        net.zero_grad()
        y = each(X)
        y.square().sum().backward()
        results.append((y.detach(), net.first.weight.grad.clone()))  # type: ignore[union-attr]
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def without_gradients_in_training(net: Between, y: Tensor) -> Tensor:
    with torch.set_grad_enabled(not net.training):
        return F.relu(net.first(y))


def one_mask_twice(net: Between, y: Tensor) -> Tensor:
    mask = (torch.rand(y.shape[0], 8) > 0.3).float() if net.training else None
    z = F.relu(y if mask is None else y * mask)
    return z if mask is None else net.first(z) * 0 + z * mask


def warmed_up(net: Between, y: Tensor) -> Tensor:
    if net.training:
        net.steps += 1
        y = y * min(1.0, net.steps / 2)
    return y


def counting(net: Between, y: Tensor) -> Tensor:
    if net.training:
        net.history.add_(1.0)
    return y


def averaging(net: Between, y: Tensor) -> Tensor:
    if net.training:
        net.last.bias.data.mul_(0.9)
    return y


class FrozenNorm(Between):
    def __init__(self) -> None:
        super().__init__(lambda net, y: net.norm(y))
        self.norm = nn.BatchNorm1d(8)

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.norm.eval()
        return self


def hooked() -> Between:
    net = Between(lambda net, y: y)
    net.last.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 0.1,))
    return net


@pytest.mark.parametrize(
    "make",
    [
        lambda: Between(without_gradients_in_training),
        lambda: Between(one_mask_twice),
        lambda: Between(warmed_up),
        lambda: Between(counting),
        lambda: Between(averaging),
        lambda: Between(lambda net, y: y * torch.full((8,), 2.0 if net.training else 1.0)),
        FrozenNorm,
        hooked,
    ],
    ids=[
        "no-gradients",
        "one-mask",
        "warm-up",
        "buffer",
        "data",
        "constant",
        "frozen-norm",
        "backward-hook",
    ],
)
def test_what_is_otherwise_in_training_is_said_and_leaves_the_network_alone(make: Callable[[], Between]) -> None:
    net = make()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="in training the network computes something else.*Remedy"):
        qat = qtorch.prepare(net, X[:1])
    assert torch.allclose(qat.eval()(X), net.eval()(X), atol=1e-6)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


class Auxiliary(Between):
    def forward(self, x: Tensor) -> Any:
        y = self.first(x)
        return (self.last(y), self.last(F.relu(y))) if self.training else self.last(y)


def test_outputs_for_training_alone_are_left_out_with_a_word() -> None:
    net = Auxiliary(scaled).train()
    with pytest.warns(UserWarning, match="in training the network computes something else.*Remedy"):
        qat = qtorch.prepare(net, X[:1])
    assert torch.allclose(qat.eval()(X), net.eval()(X), atol=1e-6)


def frozen(net: Between, y: Tensor) -> Tensor:
    with torch.no_grad():
        y = F.relu(net.first(y))
    return y


@pytest.mark.parametrize("function", [frozen, lambda net, y: net.first(y).detach()])
def test_what_gets_no_gradient_in_the_network_gets_none_when_it_is_prepared(function: Function) -> None:
    class Frozen(Between):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(self.function(self, x))
            return y

    net = Frozen(function)
    qat = qtorch.prepare(net, X[:1])
    qtorch.calibrate(qat, [X])
    for mode in (qtorch.Mode.FLOAT, qtorch.Mode.QUANTIZED):
        qtorch.set_mode(qat, mode)
        net.zero_grad()
        qat(X).sum().backward()
        assert net.first.weight.grad is None
        assert net.last.weight.grad is not None


class Written(Between):
    """A write into what dropout gives: a tensor of its own in training, the very one that it got in evaluation."""

    def __init__(self) -> None:
        super().__init__(lambda net, y: y + 2 * net.act(net.drop(y)))
        # What writes into its input gives that very tensor, as what does nothing would.
        self.drop, self.act = nn.Dropout(0.5), nn.Sequential(nn.Identity(), nn.Hardswish(inplace=True))


def test_a_write_behind_dropout_is_what_it_is_in_evaluation_and_its_training_is_told() -> None:
    with pytest.warns(UserWarning, match="in training the network computes something else than in evaluation"):
        qat = qtorch.prepare(Written(), X[:1])
    assert torch.allclose(qat.eval()(X), Written().eval()(X), atol=1e-6)


def noise_behind_another_axis(net: Between, y: Tensor) -> Tensor:
    """The batch is second, and both forms ask for its size."""
    z = y.unflatten(1, (2, 4)).transpose(0, 1)
    size = z.shape[1]
    if net.training:
        z = z + 0.1 * torch.randn(1, size, 1)
    return z.transpose(0, 1).reshape(size, 8)


def test_what_is_drawn_for_each_sample_in_training_is_no_part_of_a_file() -> None:
    qat = qtorch.prepare(Between(noise_behind_another_axis), X[:1])
    qtorch.calibrate(qat, [X])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    qat.train()(X)
    ops = [node.op for node in integer_graph(qat.eval()).nodes]
    assert [op for op in ops if op not in ("reshape", "transpose")] == ["fully_connected", "fully_connected"]


class Variational(nn.Module):
    """A mean and a spread from one layer; the spread is for training alone."""

    def __init__(self, parts: Callable[[Tensor], Any], drawn: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.last, self.parts, self.drawn = nn.Linear(6, 8), nn.Linear(4, 3), parts, drawn

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = self.parts(self.first(x))
        spread = F.softplus(spread) + 0.1
        y: Tensor = self.last(self.drawn(mean, spread)(self.training))
        return y


def _by_hand(mean: Tensor, spread: Tensor) -> Callable[[bool], Tensor]:
    return lambda training: mean + torch.randn_like(spread) * spread if training else mean


def _normal(mean: Tensor, spread: Tensor) -> Callable[[bool], Tensor]:
    normal = torch.distributions.Normal(mean, spread)
    return lambda training: normal.rsample() if training else normal.mean


@pytest.mark.parametrize("drawn", [_by_hand, _normal])
@pytest.mark.parametrize(
    "parts",
    [lambda y: y.chunk(2, 1), lambda y: y.split(4, 1), lambda y: y.view(-1, 2, 4).unbind(1)],
    ids=["chunk", "split", "unbind"],
)
def test_a_second_result_that_only_training_reads(parts: Any, drawn: Any) -> None:
    """The device gets the mean; noise of the spread, and gradients to it, go on in training."""
    torch.manual_seed(0)
    net, x = Variational(parts, drawn), torch.randn(64, 6)
    prepared = qtorch.prepare(net, x[:1])
    assert torch.allclose(prepared.eval()(x), net.eval()(x), atol=1e-5)
    qtorch.calibrate(prepared, [x])
    qtorch.set_mode(prepared.train(), qtorch.Mode.QUANTIZED)
    assert not torch.equal(prepared(x), prepared(x))
    prepared(x).square().sum().backward()
    assert net.first.weight.grad is not None
    assert bool(net.first.weight.grad[4:].any())
    assert torch.equal(prepared.eval()(x), prepared(x))
