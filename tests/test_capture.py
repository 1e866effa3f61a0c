"""What was captured is what the user wrote: the module itself says what it computes, and what else it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from qtorch.errors import BadCheckpoint, BadConfiguration, BadData, BadInput, UnsupportedLayer
from tests.between import Between, Function, X, scaled


def counted(net: Between, y: Tensor) -> Tensor:
    net.steps += 1
    return y * net.steps


def averaged(net: Between, y: Tensor) -> Tensor:
    net.level = net.level * 0.9 + y.mean(0) * 0.1
    return y + net.level


def written(net: Between, y: Tensor) -> Tensor:
    net.history.mul_(0.9).add_(1.0)
    return y + net.history


def replaced(net: Between, y: Tensor) -> Tensor:
    net.history = net.history * 0.9 + 1
    return y + net.history


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda net, y: y + torch.rand(8), r"'rand'.*random numbers.*nn\.Dropout"),
        (lambda net, y: F.dropout(y), r"'dropout'.*random numbers"),
        (lambda net, y: y + time.perf_counter() % 1, r"'add'.*test_capture\.py.*clocks"),
        (counted, r"return y \* net\.steps.*attribute 'steps' has changed"),
        (averaged, r"attribute 'level' has changed"),
        (written, r"buffer 'history' \(test_capture\.py:\d+: net\.history\.mul_"),
        (replaced, r"buffer 'history' \(test_capture\.py:\d+: net\.history = "),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_changes_from_call_to_call_is_refused_by_name(function: Function, words: str, training: bool) -> None:
    net = Between(function).train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(UnsupportedLayer, match=words):
        qtorch.prepare(net, X[:1])
    assert net.steps == 0
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_parameter_that_forward_writes_is_refused_and_stays_as_it_was() -> None:
    def clipped(net: Between, y: Tensor) -> Tensor:
        net.last.weight.data.clamp_(-0.1, 0.1)
        return y

    net = Between(clipped)
    before = net.last.weight.detach().clone()
    words = r"parameter 'last\.weight' \(test_capture\.py:\d+: .*clamp_.*Remedy: call the network once before"
    with pytest.raises(UnsupportedLayer, match=words):
        qtorch.prepare(net, X[:1])
    assert torch.equal(net.last.weight, before)


def clip_data(net: Between) -> None:
    net.last.weight.data.clamp_(-0.1, 0.1)


def put_data(net: Between) -> None:
    net.last.weight.data = torch.renorm(net.last.weight.data, p=2, dim=0, maxnorm=0.5)


def copy_without_gradients(net: Between) -> None:
    with torch.no_grad():
        net.last.weight.copy_(net.last.weight.renorm(2, 0, 0.5))


def test_numbers_of_tensors_that_layers_have_are_constants() -> None:
    def shifted(net: Between, y: Tensor) -> Tensor:
        for places in net.places[0]:
            y = y.roll(places.item(), 1)
        return y * float(net.level[3])

    net = Between(shifted)
    net.level, net.places = torch.arange(8.0), [torch.tensor([1, 4])]  # type: ignore[assignment]
    torch.testing.assert_close(qtorch.prepare(net, X[:1]).eval()(X), net(X))


@pytest.mark.parametrize("clip", [clip_data, put_data, copy_without_gradients])
@pytest.mark.parametrize("layers", [False, True], ids=["called as a function", "called as a layer"])
def test_a_parameter_that_is_clipped_already_stays_a_parameter_and_its_clipping_is_told(
    clip: Callable[[Between], None], layers: bool
) -> None:
    def clipping(net: Between, y: Tensor) -> Tensor:
        clip(net)
        return F.dropout(y, 0.5, net.training) if layers else y + F.linear(y, net.last.weight).sum(1, keepdim=True)

    net = Between(clipping).eval()
    expected = net(X)
    with pytest.warns(UserWarning, match=r"in training.*writes into 'last\.weight'.*do it in the training step"):
        qat = qtorch.prepare(net, X[:1])
    torch.testing.assert_close(qat.eval()(X), expected)
    for network in (net, qat):
        torch.manual_seed(0)
        network.train().zero_grad()
        network(X).square().sum().backward()
    gradients = dict(qat.named_parameters())
    torch.testing.assert_close(gradients["last.weight"].grad, net.last.weight.grad)


def test_what_an_example_wrote_that_had_been_written_before_is_refused_all_the_same() -> None:
    def history(net: Between, y: Tensor) -> Tensor:
        y = y + net.history
        net.history.copy_(y[0].detach() * 0)
        return y

    net = Between(history).eval()
    net(X[:1])
    with pytest.raises(UnsupportedLayer, match=r"buffer 'history' \(test_capture\.py:\d+: .*one that forward writes"):
        qtorch.prepare(net, X[:1])


def test_a_buffer_that_is_computed_of_parameters_is_no_state_unless_it_was_another() -> None:
    def computed(net: Between, y: Tensor) -> Tensor:
        net.history = net.first.bias.exp()
        return y * net.history

    net = Between(computed)
    net(X)
    # What is there is written once more, so that it is no state, and hangs on a parameter as before.
    qat = qtorch.prepare(net, X[:1])
    qat.train()(X).sum().backward()
    net.zero_grad()
    net.train()(X).sum().backward()
    torch.testing.assert_close(dict(qat.named_parameters())["first.bias"].grad, net.first.bias.grad)
    with torch.no_grad():
        net.first.bias += 1
    with pytest.raises(UnsupportedLayer, match="buffer 'history'"):
        qtorch.prepare(net, X[:1])


@pytest.mark.parametrize("size", [1, 6])
def test_a_buffer_that_is_set_to_what_comes_in_is_refused_though_the_example_came_before(size: int) -> None:
    def history(net: Between, y: Tensor) -> Tensor:
        y, net.history = y + net.history, y[0].detach()
        return y

    net = Between(history).eval()
    net(X[:size])
    with pytest.raises(UnsupportedLayer, match=r"buffer 'history'"):
        qtorch.prepare(net, X[:size])


class Centred(Between):
    def __init__(self, function: Callable[..., Tensor], dtype: torch.dtype) -> None:
        super().__init__(function)
        self.deviation: Tensor
        self.register_buffer("deviation", torch.full((8,), 2, dtype=dtype))


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda net, y: y * (1 / net.deviation), torch.float32),
        (lambda net, y: y * net.deviation + float(net.deviation.sum()), torch.float32),
        (lambda net, y: y.roll(int(net.deviation[0]), 1) + net.deviation.tolist()[1], torch.int64),
    ],
)
def test_buffers_that_became_constants_are_not_changed_behind_the_networks_back(
    function: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    net = Centred(function, dtype)
    qat = qtorch.prepare(net, X[:1])
    other = {**net.state_dict(), "deviation": torch.full((8,), 5, dtype=dtype)}
    with pytest.raises(BadCheckpoint, match=r"'deviation'.*constant.*Remedy"):
        qat.load_state_dict(other)
    qtorch.calibrate(qat, [X])
    net.deviation.fill_(5.0)
    with pytest.raises(BadConfiguration, match=r"'deviation'.*prepare it again"):
        integer_graph(qat)


class Kept(Between):
    """Keeps what it computed, and what can't be copied."""

    def __init__(self) -> None:
        super().__init__(self.keep)
        self.lock, self.seen = threading.Lock(), []

    @staticmethod
    def keep(net: Any, y: Tensor) -> Tensor:
        net.attention, net.seen = y, [y]
        torch._assert(y.shape[1] == 8, "eight")
        return y


def test_a_network_that_was_trained_and_keeps_its_activations_is_prepared() -> None:
    net = Kept()
    net(X).sum().backward()
    qat = qtorch.prepare(net, X[:1])
    qtorch.calibrate(qat, [X])
    assert torch.allclose(qat(X), net(X), atol=1e-6)
    assert len(integer_graph(qat).nodes) == 2


class Norm(nn.BatchNorm1d):
    """By another name."""


class LayerNorm(nn.LayerNorm):
    """By another name."""


def test_layers_by_another_name_and_compiled_ones_are_what_they_are() -> None:
    for layer in (Norm(8), LayerNorm(8), torch.compile(nn.Linear(8, 8))):
        net = nn.Sequential(nn.Linear(8, 8), layer, nn.ReLU()).eval()
        plain = nn.Sequential(net[0], getattr(layer, "_orig_mod", layer), net[2])
        assert torch.allclose(qtorch.prepare(net, X[:1])(X), plain(X), atol=1e-5)


@pytest.mark.parametrize(
    ("net", "example", "words"),
    [
        (lambda: nn.LazyLinear(2), X[:1], r"lazy layer.*call the network once"),
        (lambda: nn.Linear(8, 2), X[:0], r"at least one sample.*x\[:1\]"),
    ],
)
def test_what_has_no_values_is_refused(net: Callable[[], nn.Module], example: Tensor, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        qtorch.prepare(net(), example)


def test_batch_norms_that_were_frozen_before_stay_so_or_are_named() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8)).train()
    net[1].eval()
    with pytest.warns(UserWarning, match="batch norm '1' is in evaluation.*freeze_batch_norm"):
        qtorch.prepare(net, X[:1])
    net[3].eval()
    qat = qtorch.prepare(net, X[:1])
    assert qat.training
    assert torch.allclose(qat(X), net(X), atol=1e-5)
    assert not net[1].running_mean.any()


def test_another_size_than_the_examples_is_refused_where_a_constant_was_taken_from_it() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x) * (8 / x.shape[2])
            return y

    example, other = torch.rand(1, 1, 8, 8), torch.rand(2, 1, 12, 12)
    for net in (Scaled(), nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(2))):
        qat = qtorch.prepare(net, example)
        for use in (lambda qat=qat: qat(other), lambda qat=qat: qtorch.calibrate(qat, [other])):
            with pytest.raises(BadData, match=r"expected samples of shape \(1, 8, 8\).*got \(1, 12, 12\).*Remedy"):
                use()
        qat(example)
    # Without such constants any size will do, and computes what the network does.
    free = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    assert torch.allclose(qtorch.prepare(free, example)(other), free(other), atol=1e-6)
    with pytest.raises(BadData, match=r"expected samples of shape \(8,\).*got \(9,\)"):
        qtorch.prepare(nn.Linear(8, 2), X[:1])(torch.rand(3, 9))


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 2)))


@pytest.mark.parametrize("layer", ["0", "1", "1.1", ""])
@pytest.mark.parametrize("before", [True, False])
def test_hooks_that_change_values_are_in_what_is_prepared(layer: str, before: bool) -> None:
    net = layers()
    at = net.get_submodule(layer)
    if before:
        at.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    else:
        at.register_forward_hook(lambda module, inputs, output: output * 2)
    assert torch.allclose(qtorch.prepare(net, X[:1])(X), net(X), atol=1e-6)
    assert not torch.allclose(net(X), layers()(X), atol=1e-2)


def test_hooks_that_write_into_values_are_refused_and_those_that_look_are_not() -> None:
    net = layers()
    net[0].register_forward_hook(lambda module, inputs, output: (output.mul_(2), None)[1])
    with pytest.raises(UnsupportedLayer, match="hooks on '0'"):
        qtorch.prepare(net, X[:1])
    seen: list[float] = []
    net = layers()
    net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.detach().mean().item()))
    assert torch.allclose(qtorch.prepare(net, X[:1])(X), net(X), atol=1e-6)
    assert seen


def test_a_forward_that_was_replaced_is_captured() -> None:
    net = layers()
    own = net[0].forward
    net[0].forward = lambda x: own(x) * 2
    assert torch.allclose(qtorch.prepare(net, X[:1])(X), net(X), atol=1e-6)
    other = layers()
    whole = other.forward
    other.forward = lambda x: whole(x) * 2  # type: ignore[method-assign]
    assert torch.allclose(qtorch.prepare(other, X[:1])(X), other(X), atol=1e-6)


def looped(net: Between, y: Tensor) -> Tensor:
    for _ in range(y.shape[1]):
        y = y + 1
    return y


def folded(net: Between, y: Tensor) -> Tensor:
    batch, features = y.shape
    assert len(y.shape) == y.ndim == 2
    return y.reshape(batch, *[2] * int(features**0.5 + 0.5)).flatten(1) * (8 / features)


@pytest.mark.parametrize(
    "function",
    [
        lambda net, y: y * 3 if y.shape[1] == 8 else y * 2,
        lambda net, y: y * 3 if y.dim() == 2 and y.dtype is torch.float32 else y * 2,
        lambda net, y: torch.cat([part * (2 + i) for i, part in enumerate(y.chunk(2, 1))], 1),
        lambda net, y: y * len(y.shape),
        lambda net, y: y * torch.arange(8) + torch.tensor([0.5]),
        lambda net, y: y + torch.zeros(y.shape[0], 8),
        looped,
        folded,
    ],
)
def test_sizes_are_numbers(function: Function) -> None:
    net = Between(function)
    assert torch.allclose(qtorch.prepare(net, X[:1])(X), net(X), atol=1e-5)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda net, y: y if y.sum() > 0 else y * 2, r"hangs on the values in a tensor.*data-dependent control flow"),
        (lambda net, y: y * float(y.max()), r"keep it a tensor"),
        (lambda net, y: y * y.max().item(), r"by item\(\).*keep it a tensor"),
        (lambda net, y: y + y.detach().numpy().sum(), r"stay in tensors"),
        (lambda net, y: y * torch.nonzero(y).shape[0], r"by nonzero\(\)"),
        (lambda net, y: torch.cat([each[None] * 2 for each in y]), r"a device has one sample"),
    ],
)
def test_code_that_can_not_be_followed_is_refused_with_its_line_and_its_own_cause(
    function: Function, words: str
) -> None:
    with pytest.raises(UnsupportedLayer, match=rf"test_capture\.py:\d+: .*{words}"):
        qtorch.prepare(Between(function), X[:1])


def test_a_batch_size_in_the_networks_code_is_refused_as_such() -> None:
    for function in (
        lambda net, y: y.view(1, 8),
        lambda net, y: y.reshape(1, 2, 4).flatten(1),
        lambda net, y: y.reshape(int(y.shape[0]), 2, 4).flatten(1),
    ):
        with pytest.raises(UnsupportedLayer, match=r"batches of any size.*batch"):
            qtorch.prepare(Between(function), X[:1])
    with pytest.raises(BadConfiguration, match=r"an example that the network accepts.*\(1, 5\).*RuntimeError"):
        qtorch.prepare(Between(scaled), torch.zeros(1, 5))


def test_a_difference_of_float_sums_alone_is_none() -> None:
    """A deep network without normalization, whose errors grow: by as much in PyTorch's own float32."""
    torch.manual_seed(0)
    net = nn.Sequential(*(part for _ in range(40) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(1e-4, 1e-2)
    qtorch.prepare(net, torch.rand(1, 64))
