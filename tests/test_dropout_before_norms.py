"""Dropout between a layer and its batch norm: the norm is folded all the same, and training is the module's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph

pytestmark = pytest.mark.usefixtures("one_thread")


class Dropping(nn.Module):
    """An image and a vector, each dropped before it is normalized."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.drop, self.norm = nn.Conv2d(3, 8, 3), nn.Dropout2d(0.3), nn.BatchNorm2d(8)
        self.linear, self.drops, self.norms = nn.Linear(8, 4), nn.Dropout(0.4, inplace=True), nn.BatchNorm1d(4)
        with torch.no_grad():
            self.norm(self.conv(torch.randn(64, 3, 6, 6)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.drop(self.conv(x))).relu().mean((2, 3))
        found: Tensor = self.norms(self.drops(self.linear(y)))
        return found


X = torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def _step(net: nn.Module, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(3)
    y: Tensor = net(x)
    net.zero_grad()
    y.sin().sum().backward()
    return y.detach(), {name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("frozen", [False, True])
def test_training_drops_what_the_module_drops(frozen: bool) -> None:
    net = Dropping()
    # Fine and wide grids, so that a number that is dropped on one side alone is told from rounding.
    config = qtorch.QuantizationConfig(activations="int16", margin=1.0)
    qat = qtorch.prepare(copy.deepcopy(net).eval(), X[:1], config).train()
    net.train()
    if frozen:
        qtorch.freeze_batch_norm(qat)
        net.norm.eval()
        net.norms.eval()
    wanted, gradients = _step(net, X)
    found, others = _step(qat, X)
    torch.testing.assert_close(found, wanted)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, msg=name)
    qtorch.calibrate(qat.eval(), [6 * X])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    found, others = _step(qat.train(), X)
    assert float((found - wanted).abs().max()) < 0.05
    for name, gradient in gradients.items():
        assert float((others[name] - gradient).norm()) < 0.1 * float(gradient.norm()), name


def test_a_layer_left_in_floats_drops_too() -> None:
    net = Dropping()
    net.drops.p = 0.0
    config = qtorch.QuantizationConfig(layers={"conv": {"skip": True}})
    qat = qtorch.prepare(copy.deepcopy(net).eval(), X[:1], config)
    qtorch.calibrate(qat, [X])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat.train())
    torch.manual_seed(3)
    one = qat(X)
    torch.manual_seed(4)
    assert not torch.equal(qat(X), one)


def test_the_norm_takes_no_op() -> None:
    qat = qtorch.prepare(Dropping().eval(), X[:1])
    qtorch.calibrate(qat, [X])
    assert [node.op for node in integer_graph(qat).nodes] == ["conv_2d", "mean", "fully_connected"]
