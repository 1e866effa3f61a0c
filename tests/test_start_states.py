"""States that begin with zeros of the batch's size: the network's own numbers, and TFLite Micro's and plain C's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.c.compiled import run_c
from export.c.model import c_model
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite


class Recurrent(nn.Module):
    """Steps of a recurrent layer, and a second state beside the first."""

    def __init__(self, start: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of_input, self.of_state, self.start = nn.Linear(3, 4), nn.Linear(4, 4), start

    def forward(self, x: Tensor) -> Tensor:
        state, total = self.start(x), self.start(x)
        for step in range(3):
            state = torch.tanh(self.of_input(x[:, step]) + self.of_state(state))
            total = total + state
        return total


class Convolved(nn.Module):
    """A state that is an image."""

    def __init__(self) -> None:
        super().__init__()
        self.of_input, self.of_state = (nn.Conv2d(n, 4, 3, padding=1) for n in (2, 4))

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 4, x.shape[2], x.size(3))
        for step in range(2):
            state = torch.relu(self.of_input(x[:, 2 * step : 2 * step + 2]) + self.of_state(state))
        return state


def calibrated(net: nn.Module, x: Tensor) -> nn.Module:
    torch.manual_seed(0)
    qat = qtorch.prepare(net.eval(), x[:1]).eval()
    torch.testing.assert_close(qat(x), net(x))
    torch.testing.assert_close(qat(x[:1]), net(x[:1]))
    qtorch.calibrate(qat, [x])
    return qat.eval()


STARTS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.new_zeros(x.shape[0], 4),
    lambda x: x.new_zeros((x.size(0), 4)),
    lambda x: torch.zeros(x.size(0), 4, device=x.device, dtype=x.dtype),
    lambda x: torch.zeros((x.shape[0], 4)),
]


@pytest.mark.tflm
@pytest.mark.parametrize("start", STARTS)
def test_a_state_of_zeros(start: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    net, x = Recurrent(start), torch.randn(40, 3, 3)
    qat = calibrated(net, x)
    graph = integer_graph(qat)
    codes = corner_codes(graph, random=200)
    assert parity(graph, write_tflite(graph), codes, qat).engines["tflm"].exact_share == 1.0
    with torch.no_grad():
        assert float((qat(x) - net(x)).abs().max()) < 0.1


def test_it_is_the_same_in_plain_c() -> None:
    torch.manual_seed(0)
    graph = integer_graph(calibrated(Recurrent(STARTS[0]), torch.randn(40, 3, 3)))
    codes = corner_codes(graph, random=200)
    outputs = run_c("recurrent", c_model("recurrent", graph).files, graph, codes)
    assert (outputs[0] == interpret(graph, codes)[graph.outputs[0]]).all()


def test_a_state_that_is_an_image() -> None:
    torch.manual_seed(0)
    calibrated(Convolved(), torch.randn(8, 4, 5, 5))


def test_weights_and_gradients_are_the_networks_own() -> None:
    torch.manual_seed(0)
    net, x = Recurrent(STARTS[0]), torch.randn(5, 3, 3)
    qat = qtorch.prepare(net, x[:1])
    assert {name for name, _ in qat.named_parameters()} == {name for name, _ in net.named_parameters()}
    for each in (net, qat):
        each(x).sum().backward()
    torch.testing.assert_close(qat.get_parameter("of_state.weight").grad, net.of_state.weight.grad)


def test_a_state_of_another_value_is_one_of_zeros_and_a_number() -> None:
    torch.manual_seed(0)
    for start in (lambda x: torch.ones(x.shape[0], 4), lambda x: torch.zeros(x.shape[0], 4) + 0.5):
        calibrated(Recurrent(start), torch.randn(40, 3, 3))


class OtherAxis(nn.Module):
    """Zeros of a size that is the batch's by chance."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] + torch.zeros(x.shape[1], 3)[:1]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_zeros_of_no_batch_are_constants(batch: int) -> None:
    x = torch.randn(batch, 2, 3)
    assert torch.equal(qtorch.prepare(OtherAxis(), x)(x), OtherAxis()(x))
