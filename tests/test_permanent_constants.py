"""Computed constants that are written to after training: they become parameters, and a state says so."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch import Mode, QuantizationConfig
from qtorch.capture.constant_expression import ConstantExpression
from qtorch.network.quantized_op import QuantizedOp
from qtorch.post_training import correct_biases, equalize, fold_batch_norms, round_adaptively
from tests.test_computed_constants import codes, computed

pytestmark = pytest.mark.usefixtures("one_thread")


class Chain(nn.Module):
    """Two layers of computed weights and biases with nothing but ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 16)
        self.second = nn.Linear(16, 3)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.linear(x, F.normalize(self.first.weight), self.first.bias * self.scale))
        return F.linear(y, self.second.weight * self.scale, self.second.bias * 2)


def chain() -> tuple[Chain, Any, Tensor]:
    torch.manual_seed(0)
    net, x = Chain(), torch.randn(200, 4)
    qat = qtorch.prepare(net, x[:2], QuantizationConfig(weight_bits=4))
    qtorch.calibrate(qat, [x])
    return net, qat, x


@pytest.mark.parametrize("change", ["rounded", "corrected"])
def test_what_is_written_to_becomes_permanent(change: str) -> None:
    net, qat, x = chain()
    before = copy.deepcopy(net)
    if change == "rounded":
        found = round_adaptively(qat, [x], steps=40)
        assert [each.skipped for each in found] == ["", ""]
        assert max(each.moved for each in found) > 0
        role = "weight"
    else:
        assert [each.skipped for each in correct_biases(qat, [x])] == ["", ""]
        role = "bias"
    # The float network's parameters are as they were, and have no say any more.
    for name, parameter in before.named_parameters():
        assert torch.equal(dict(net.named_parameters())[name], parameter)
    layers = [op for op in qat.modules() if isinstance(op, QuantizedOp)]
    assert all(isinstance(getattr(op, role), nn.Parameter) for op in layers)
    expected = codes(qat)
    qtorch.set_mode(qat.eval(), Mode.QUANTIZED)
    again = chain()[1]
    assert not np.array_equal(expected[0], codes(again)[0])
    again.load_state_dict(copy.deepcopy(qat.state_dict()))
    assert np.array_equal(expected[0], codes(again)[0])
    assert torch.equal(pickle.loads(pickle.dumps(qat)).eval()(x), qat(x))
    graph = integer_graph(qat)
    parity(graph, write_tflite(graph), corner_codes(graph, random=50), qat)
    # A state without it lets the layers compute again.
    plain = chain()[1]
    again.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert np.array_equal(codes(plain)[0], codes(again)[0])
    assert not any(role in op._parameters for op in again.modules() if isinstance(op, QuantizedOp))


def test_the_float_network_s_state_lets_layers_compute_again() -> None:
    net, qat, x = chain()
    round_adaptively(qat, [x], steps=5)
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed.scale.mul_(1.25)
    with pytest.warns(UserWarning, match="weights without ranges"):
        qat.load_state_dict(changed.state_dict())
    qtorch.set_mode(qat.eval(), Mode.FLOAT)
    assert torch.allclose(qat(x), changed(x), atol=1e-6)


def test_a_tied_weight_is_not_changed_for_one_of_its_readers() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.relu(self.layer(x)), self.layer.weight.t())

    torch.manual_seed(0)
    x = torch.randn(32, 4)
    qat = qtorch.prepare(Tied(), x[:2])
    qtorch.calibrate(qat, [x])
    assert [name for name, _ in qat.named_parameters()] == ["layer.weight", "layer.bias"]
    (expression,) = [role for roles in computed(qat).values() for role in roles.values()]
    (held,) = expression.held()
    assert held.holder is qat.get_submodule("layer")
    found = round_adaptively(qat, [x], steps=5)
    assert found[0].skipped == "its weight is another call's too"


@pytest.mark.parametrize("change", [equalize, fold_batch_norms])
def test_a_float_network_that_is_changed_has_parameters_in_their_place(change: Callable[..., fx.GraphModule]) -> None:
    torch.manual_seed(0)
    net, x = Chain().eval(), torch.randn(50, 4)
    changed = change(net, x[:2])
    assert torch.allclose(changed(x), net(x), atol=1e-5)
    assert not any(isinstance(module, ConstantExpression) for module in changed.modules())
    qat = qtorch.prepare(changed, x[:2])
    assert not computed(qat)
