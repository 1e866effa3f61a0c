"""Layers whose constants are computed from parameters: trained, calibrated, changed after training, exported."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.flop_counter import FlopCounterMode

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.capture.constant_expression import ConstantExpression
from qtorch.errors import BadCheckpoint, BadConfiguration, NotFinite, UnsupportedLayer
from qtorch.network.quantized_op import QuantizedOp
from qtorch.post_training import round_adaptively

pytestmark = pytest.mark.usefixtures("one_thread")


class Network(nn.Module):
    """A normalized convolution, a batch norm behind it, scaled features, and a transposed weight."""

    def __init__(self) -> None:
        super().__init__()
        self.wn = parametrizations.weight_norm(nn.Conv2d(2, 4, 3))
        self.bn = nn.BatchNorm2d(4)
        self.gain = nn.Parameter(torch.rand(4) + 0.5)
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(F.conv2d(x, self.wn.weight, self.wn.bias)))
        y = y * (2 * self.gain).reshape(1, -1, 1, 1)
        return F.linear(y.mean((2, 3)), self.head.weight.t())


NAMES = {
    "wn.bias", "wn.parametrizations.weight.original0", "wn.parametrizations.weight.original1", "bn.weight", "bn.bias",
    "gain", "head.weight",
}  # fmt: skip
ROLES = {"conv2d": {"weight"}, "mul_1": {"other"}, "linear": {"weight"}}


def made(**options: Any) -> tuple[Network, Any, Tensor]:
    """A float network, a network that was prepared of a copy of it, and data."""
    torch.manual_seed(0)
    net, x = Network(), torch.randn(24, 2, 6, 6)
    qat = qtorch.prepare(copy.deepcopy(net), x[:2], QuantizationConfig(**options))
    return net, qat, x


def trained(net: Any, x: Tensor, steps: int) -> None:
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    for step in range(steps):
        batch = x[step % 3 :: 3]
        optimizer.zero_grad()
        (net(batch) - batch[:, 0, :3, 0]).square().mean().backward()
        optimizer.step()


def computed(qat: nn.Module) -> dict[str, dict[str, ConstantExpression]]:
    return {
        name: op.constants.computed.expressions
        for name, op in qat.named_modules()
        if isinstance(op, QuantizedOp) and op.constants.computed
    }


def codes(qat: Any) -> list[np.ndarray[Any, Any]]:
    graph = integer_graph(qat)
    return [interpret(graph, corner_codes(graph, random=20))[name] for name in graph.outputs]


def test_parameters_keep_their_names_and_places() -> None:
    _, qat, _ = made()
    names = [name for name, _ in qat.named_parameters()]
    assert set(names) == NAMES
    assert len(names) == len(NAMES)
    assert {name: set(roles) for name, roles in computed(qat).items()} == ROLES
    assert not any(isinstance(module, ConstantExpression) for module in qat.modules())


def test_float_training_is_that_of_the_module_itself() -> None:
    net, qat, x = made()
    qat.train(), net.train()
    trained(net, x, 6)
    trained(qat, x, 6)
    own = dict(qat.named_parameters())
    for name, parameter in net.named_parameters():
        if name in own:
            torch.testing.assert_close(own[name], parameter, rtol=1e-5, atol=1e-7)
    assert torch.allclose(net.eval()(x), qat.eval()(x), atol=1e-5)


OPTIONS: dict[str, dict[str, Any]] = {
    "int8": {},
    "int16": {"activations": "int16"},
    "4 bits": {"weight_bits": 4},
    "per tensor": {"weights": "per_tensor"},
    "learned": {"scales": "lsq"},
    "searched": {"weight_observer": "mse"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_was_trained_quantized_is_exact_on_the_device(name: str) -> None:
    _, qat, x = made(**OPTIONS[name])
    qtorch.calibrate(qat, [x])
    before = {name: each.detach().clone() for name, each in qat.named_parameters()}
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    trained(qat, x, 10)
    qtorch.freeze_batch_norm(qat)
    trained(qat, x, 10)
    for parameter, each in qat.named_parameters():
        assert not torch.equal(before[parameter], each), parameter
    qat.eval()
    graph = integer_graph(qat)
    inputs = corner_codes(graph, random=100)
    report = parity(graph, write_tflite(graph), inputs, qat)
    assert report.engines["tflm"].exact_share == 1.0
    weight = next(op for n, op in qat.named_modules() if n == "linear").constants.integers()["weight"]
    limit = 7 if name == "4 bits" else 127
    assert int(weight.codes.abs().max()) == limit or name in ("learned", "searched")


def test_an_expression_is_computed_once_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[ConstantExpression] = []
    forward = ConstantExpression.forward

    def counted(self: ConstantExpression) -> Tensor:
        calls.append(self)
        return forward(self)

    _, qat, x = made()
    qtorch.calibrate(qat, [x])
    monkeypatch.setattr(ConstantExpression, "forward", counted)
    for mode in (Mode.FLOAT, Mode.QUANTIZED):
        for training in (True, False):
            qtorch.set_mode(qat.train(training), mode)
            calls.clear()
            qat(x)
            assert len(calls) == len(set(calls)) == 3
    expression = computed(qat)["linear"]["weight"]
    with torch.no_grad():
        dict(qat.named_parameters())["head.weight"].mul_(2.0)
    # Between calls anything may be written.
    assert torch.equal(qat.get_submodule("linear").constants.own()["weight"], expression())


def test_a_state_goes_from_one_network_to_another() -> None:
    net, qat, x = made(scales="lsq")
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    trained(qat, x, 3)
    other = made(scales="lsq")[1]
    other.load_state_dict(copy.deepcopy(qat.state_dict()))
    assert torch.equal(qat.eval()(x), other.eval()(x))
    # Of the float network, too.
    trained(net, x, 2)
    fresh = made()[1]
    fresh.load_state_dict(net.state_dict())
    assert torch.allclose(fresh.eval()(x), net.eval()(x), atol=1e-6)


def test_a_copy_is_trained_by_itself() -> None:
    _, qat, x = made()
    copied = copy.deepcopy(qat)
    before = {name: each.clone() for name, each in qat.state_dict().items() if isinstance(each, Tensor)}
    trained(copied, x, 2)
    assert all(torch.equal(before[name], each) for name, each in qat.state_dict().items() if name in before)
    own = {id(each) for each in copied.parameters()}
    for roles in computed(copied).values():
        for expression in roles.values():
            assert {id(tensor) for _, tensor in expression.tensors() if isinstance(tensor, nn.Parameter)} <= own


def test_another_type_is_refused() -> None:
    _, qat, x = made()
    qat.gain.data = qat.gain.data.double()
    with pytest.raises(BadConfiguration, match="'gain' of a mul layer"):
        qat(x)


class Twice(nn.Module):
    """One normalized layer, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = parametrizations.weight_norm(nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        with parametrize.cached():
            weight = self.layer.weight
        return F.linear(F.relu(F.linear(x, weight, self.layer.bias)), weight, self.layer.bias)


def test_a_layer_that_is_called_twice_has_one_expression() -> None:
    torch.manual_seed(0)
    net, x = Twice(), torch.randn(32, 4)
    qat = qtorch.prepare(net, x[:2])
    first, second = (roles["weight"] for roles in computed(qat).values())
    assert first is second
    qtorch.calibrate(qat, [x])
    before = dict(computed(qat))
    found = round_adaptively(qat, [x], steps=5)
    assert [each.skipped for each in found] == ["its weight is another call's too"] * 2
    assert computed(qat) == before
    assert not any("weight" in op._parameters for op in qat.modules() if isinstance(op, QuantizedOp))


def test_a_normalization_in_front_is_folded_into_a_computed_weight() -> None:
    class Normalized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front = qtorch.Normalization(offset=1.0, span=2.0)
            self.layer = parametrizations.weight_norm(nn.Linear(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(self.front(x), self.layer.weight, self.layer.bias)

    torch.manual_seed(0)
    net, x = Normalized(), torch.randn(64, 4)
    qat = qtorch.prepare(net, x[:2])
    (op,) = [module for module in qat.modules() if isinstance(module, QuantizedOp)]
    assert op.constants.front is not None
    assert torch.allclose(qat(x), net(x), atol=1e-6)
    qtorch.calibrate(qat, [x])
    round_adaptively(qat, [x], steps=5)
    graph = integer_graph(qat)
    parity(graph, write_tflite(graph), corner_codes(graph, random=50), qat.eval())


class Token(nn.Module):
    """A class token in front of two others, from one size of batch to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.layer = nn.Parameter(torch.rand(1, 1, 4)), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        token = torch.ops.aten.expand.default(3 * self.token, [x.shape[0], -1, -1])
        y = self.layer(torch.cat([token, x], 1))
        return y * torch.ops.aten.repeat.default(self.token, [x.shape[0], 3, 1])


def test_a_class_token_is_trained_and_exported() -> None:
    torch.manual_seed(0)
    net, x = Token(), torch.randn(24, 2, 4)
    qat = qtorch.prepare(copy.deepcopy(net), x[:2])
    assert torch.allclose(qat(x), net(x), atol=1e-6)
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    before = {name: each.detach().clone() for name, each in qat.named_parameters()}
    optimizer = torch.optim.SGD(qat.parameters(), 0.05)
    for _ in range(5):
        optimizer.zero_grad()
        (qat(x) - 1).square().mean().backward()
        optimizer.step()
    assert not any(torch.equal(before[name], each) for name, each in qat.named_parameters())
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, random=50), qat.eval())
    assert report.engines["tflm"].exact_share == 1.0


def test_an_output_that_is_computed_from_parameters_is_refused() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.layer(x), 2 * self.layer.weight

    with pytest.raises(UnsupportedLayer, match="expected outputs that depend on an input, got a constant"):
        qtorch.prepare(Constant(), torch.randn(4, 4))


def test_a_weight_that_a_norm_goes_on_changing_is_not_rounded() -> None:
    _, qat, x = made()
    qtorch.calibrate(qat, [x])
    with pytest.raises(BadConfiguration, match="layer 'conv2d': expected a layer without a batch norm behind it"):
        round_adaptively(qat, [x])


def test_a_constant_that_is_no_number_is_named() -> None:
    _, qat, x = made()
    qtorch.calibrate(qat, [x])
    with torch.no_grad():
        qat.gain.fill_(float("nan"))
    with pytest.raises(NotFinite, match="other of layer 'mul_1'"):
        integer_graph(qat)


def test_another_buffer_of_which_a_constant_was_computed_is_refused() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.register_buffer("places", torch.rand(4))
            self.register_buffer("mask", torch.rand(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.places.exp() + F.linear(x, self.layer.weight * self.mask)

    torch.manual_seed(0)
    net, x = Placed(), torch.randn(8, 4)
    qat = qtorch.prepare(net, x[:2])
    # One that is read whenever an expression is computed is loaded.
    changed = copy.deepcopy(net.state_dict())
    changed["mask"] *= 2
    qat.load_state_dict(changed)
    assert torch.allclose(qat(x), net(x), atol=1e-6)
    assert torch.equal(net.mask, changed["mask"])
    changed["places"] += 1
    with pytest.raises(BadCheckpoint, match="'places' in the state dict"):
        qat.load_state_dict(changed)


def test_operations_can_be_counted_without_gradients() -> None:
    """As Lightning's summary of a model does, where an expression is a view of a parameter."""

    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    qat = qtorch.prepare(Transposed(), torch.zeros(1, 4))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        qat(torch.zeros(2, 4))
    assert counter.get_total_flops() == 2 * 2 * 4 * 3
    qat(torch.ones(2, 4)).sum().backward()
    assert torch.equal(qat.weight.grad, torch.full((4, 3), 2.0))
