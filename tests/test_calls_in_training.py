"""What a network works out at once for a call is that call's alone: whoever writes to parameters, and whenever."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as all_modules
from torch.nn.utils.parametrizations import spectral_norm

import qtorch
from qtorch import Mode
from qtorch.network.calibration import observe_in_training
from qtorch.network.quantized_op import QuantizedOp
from qtorch.network.sums_together import Together
from tests.test_gradients_of_networks import in_real_units

pytestmark = pytest.mark.usefixtures("one_thread")


class Perceptron(nn.Module):
    """Three linear layers."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, width), nn.Linear(width, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(torch.relu(self.second(torch.relu(self.first(x)))))
        return y


def trained(options: dict[str, Any] | None = None, samples: int = 64) -> tuple[Any, Tensor]:
    """A perceptron in quantized training, and its input, some of which saturates."""
    torch.manual_seed(0)
    net, x = Perceptron(), torch.randn(samples, 6)
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**(options or {})))
    qtorch.calibrate(qat, [0.5 * x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    return qat, x


def as_the_device(qat: Any, x: Tensor) -> Tensor:
    """What the network computes without gradients, each layer by itself, with what it is now."""
    with torch.no_grad():
        y: Tensor = copy.deepcopy(qat).eval()(x)
    return y


@contextmanager
def hooked(qat: Any, where: str) -> Iterator[None]:
    """A hook that makes the last layer's weight smaller, in the middle of a call."""

    def write(module: nn.Module, *_: Any) -> None:
        if where != "all" or module is qat.second:
            qat.last.weight.data.mul_(0.5)
            if "log_weight_scale" in qat.last._parameters:
                qat.last.log_weight_scale.data.sub_(0.5)

    if where == "network":
        hook = qat.register_forward_pre_hook(write)
    elif where == "layer":
        hook = qat.second.register_forward_hook(write)
    else:
        hook = all_modules.register_module_forward_pre_hook(write)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("options", [{}, {"scales": "lsq"}])
@pytest.mark.parametrize("where", ["network", "layer", "all"])
def test_what_a_hook_writes_to_a_layer_that_comes_later_is_computed_with(where: str, options: dict[str, Any]) -> None:
    qat, x = trained(options)
    with hooked(qat, where):
        y = qat(x)
    assert torch.equal(y, as_the_device(qat, x))


def test_a_weight_that_changes_whenever_it_is_asked_for_is_asked_for_once() -> None:
    qat, x = trained()
    spectral_norm(qat.second, "weight")
    with torch.no_grad():
        qat.second.parametrizations.weight.original.add_(torch.randn(5, 8))
    y = qat.train()(x)
    assert torch.equal(y, as_the_device(qat, x))


@pytest.mark.parametrize("options", [{"layers": {"first": {"scales": "lsq"}}}, {}])
def test_a_grid_that_follows_in_the_middle_of_a_call_is_computed_with(options: dict[str, Any]) -> None:
    """In front of a layer whose own grid does not."""
    qat, x = trained(options)
    observe_in_training(qat, True)
    if not options:
        qat.first.eval()
    assert torch.equal(qat(x), as_the_device(qat, x))


def test_gradients_behind_a_scale_that_was_learned_are_of_what_it_is_now() -> None:
    qat, x = trained({"layers": {"first": {"scales": "lsq"}}})
    qat(x)
    with torch.no_grad():
        qat.first.quantizer.log_scale.add_(0.3)
    y = qat(x)
    y.square().sum().backward()
    expected, leaves = in_real_units(qat.origin.net, qat, x)
    expected.square().sum().backward()
    wanted = leaves["second.weight"].grad
    assert wanted is not None
    assert float((qat.second.weight.grad - wanted).norm() / wanted.norm()) < 1e-5


def test_a_gradient_of_gradients_gets_to_weights() -> None:
    """As a penalty on the gradient of the input has one."""
    qat, x = trained()
    x.requires_grad_()
    expected, leaves = in_real_units(qat.origin.net, qat, x)
    for y in (qat(x), expected):
        (of_x,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        of_x.square().sum().backward()
    for name, leaf in leaves.items():
        got, wanted = qat.get_parameter(name).grad, leaf.grad
        assert wanted is not None
        assert float((got - wanted).norm() / wanted.norm()) < 1e-4, name


@pytest.mark.parametrize("options", [{}, {"scales": "lsq"}, {"scales": "lsq+"}, {"scales": "pact"}], ids=str)
def test_a_batch_of_none_has_gradients_of_zero(options: dict[str, Any]) -> None:
    qat, x = trained(options)
    y = qat(x[:0])
    y.sum().backward()
    assert y.shape == (0, 3)
    assert float(qat.first.weight.grad.abs().max()) == 0


@pytest.mark.parametrize("options", [{}, {"scales": "lsq"}])
def test_a_copy_made_in_the_middle_of_a_call_has_its_own_numbers(options: dict[str, Any]) -> None:
    qat, x = trained(options)
    seen: list[Any] = []
    # In place of a hook, with which nothing is worked out at once.
    compute = qat.second.route
    qat.second.route = lambda *arguments: (seen.append(copy.deepcopy(qat)), compute(*arguments))[1]
    qat(x)
    qat.second.choose_route()
    (copied,) = seen
    copied.second.choose_route()
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(0.7)
    with torch.no_grad():
        y = copied(x)
    assert torch.equal(y, as_the_device(copied, x))
    assert not any(op.constants.figures for op in copied.modules() if isinstance(op, QuantizedOp))


def test_nothing_stays_of_a_call_that_failed_before_its_first_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    qat, x = trained({"scales": "lsq"})
    with monkeypatch.context() as patch:
        patch.setattr("qtorch.network.sums_together.Together.compute", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            qat(x)
    scale = float(qat.first.output.scale)
    with torch.no_grad():
        qat.first.output.log_scale.add_(1.0)
    assert float(qat.first.output.scale) > 2 * scale


@pytest.mark.parametrize("options", [{}, {"scales": "lsq"}])
def test_threads_that_call_one_network_get_the_same(options: dict[str, Any]) -> None:
    qat, x = trained(options)
    expected, different = qat(x).detach(), []

    def work() -> None:
        for _ in range(150):
            y = qat(x)
            if not torch.equal(y, expected):
                different.append(y)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(interval)
    assert not different


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_noise_that_is_switched_off_leaves_whole_steps(activations: str) -> None:
    """A number on a grid, divided by its step, is not always whole in float32."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 64), nn.AlphaDropout(0.3), nn.Linear(64, 3)), torch.randn(500, 6)
    qat: Any = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(activations=activations))  # type: ignore[arg-type]
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    seen: list[Tensor] = []
    qat.get_submodule("2").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    qat(x)
    qat.get_submodule("1").eval()
    qat(x)
    with_noise, without = seen
    assert not torch.equal(with_noise, with_noise.round())
    assert torch.equal(without, without.round())


def test_a_loop_that_is_looked_at_is_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """:func:`qtorch.checked_training` looks at inputs, and hooks that come before a layer would be listened to."""
    qat, x = trained()
    given: list[int] = []
    compute = Together.compute

    def counted(together: Together) -> Any:
        given.append(len(together.layers))
        return compute(together)

    monkeypatch.setattr(Together, "compute", counted)
    optimizer = torch.optim.SGD(qat.parameters(), lr=0.01)
    with qtorch.checked_training(qat, optimizer):
        qat(0.1 * x).square().sum().backward()
        optimizer.step()
    assert given == [3]


@pytest.mark.parametrize("options", [{}, {"scales": "lsq"}])
def test_a_copy_made_in_inference_mode_computes_the_same(options: dict[str, Any]) -> None:
    qat, x = trained(options)
    expected = qat(x).detach()
    with torch.inference_mode():
        copied = copy.deepcopy(qat)
        assert torch.equal(copied(x), expected)
        copied.first.output.coarsen(1.0)
        assert float(copied.first.output.step) == 1.0


def test_a_large_batch_is_not_held_in_float64() -> None:
    """Nothing as large as the result in eight bytes a number; the codes are those of small batches."""
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 64)), torch.randn(8192, 4)
    qat: Any = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        y = qat(x)
    assert max(each.self_cpu_memory_usage for each in profile.events()) <= 4 * y.numel()
    assert torch.equal(y, torch.cat([qat(part) for part in x.split(512)]))


@pytest.mark.parametrize("options", [{}, {"scales": "lsq"}])
def test_weights_that_are_written_to_before_the_backward_pass_leave_gradients_as_they_were(
    options: dict[str, Any],
) -> None:
    qat, x = trained(options)
    qat(x).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in qat.parameters()]
    qat.zero_grad()
    y = qat(x)
    with torch.no_grad():
        for op in (qat.first, qat.second, qat.last):
            op.weight.mul_(1.5)
    # Another call's figures are in the same memory.
    qat(2 * x)
    y.square().sum().backward()
    for parameter, wanted in zip(qat.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, wanted)
