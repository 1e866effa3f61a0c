"""Values in order along an axis, by maxima and minima: the module's own numbers, and TFLite Micro's codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import UnsupportedLayer

pytestmark = pytest.mark.usefixtures("one_thread")


class Ordering(nn.Module):
    """A function of what a layer makes of ``[N, 6, 8]``."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.function = nn.Linear(8, 8), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer(x))


X = torch.randn(32, 6, 8, generator=torch.Generator().manual_seed(0))
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "largest": lambda y: y.topk(3, dim=1).values,
    "smallest": lambda y: torch.topk(y, 2, largest=False)[0],
    "up": lambda y: y.sort(dim=1)[0],
    "down": lambda y: torch.sort(y, dim=-1, descending=True, stable=True).values,
    "median": lambda y: y.median(1).values,
    "one": lambda y: y.kthvalue(5, -1, keepdim=True).values,
    "in between": lambda y: y.view(-1, 2, 3, 8).topk(2, 2).values,
    "batch merged": lambda y: y.reshape(-1, 8).topk(2).values.view(-1, 12),
    "time first": lambda y: y.transpose(0, 1).topk(2, 0).values.transpose(0, 1),
    "of two": lambda y: y[..., :2].sort().values,
    "of one": lambda y: y[..., :1].sort().values,
}


@pytest.mark.tflm
@pytest.mark.parametrize("name", FORMS)
def test_values_are_the_modules_and_the_devices(name: str) -> None:
    net = Ordering(FORMS[name]).eval()
    qat = qtorch.prepare(net, X[:1]).eval()
    gradients = []
    for each in (net, qat):
        net.zero_grad()
        y = each(X)
        torch.testing.assert_close(y, net(X))
        y.sin().sum().backward()
        assert net.layer.weight.grad is not None
        gradients.append(net.layer.weight.grad.clone())
    torch.testing.assert_close(*gradients)
    qtorch.calibrate(qat, [X])
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, random=20), qat, reported=())
    assert report.engines["tflm"].exact_share == 1.0


@pytest.mark.parametrize("function", [lambda y: y.topk(3, 1).indices.float(), lambda y: y.sort(1)[1].float()])
def test_where_they_stood_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedLayer, match="of indices the device returns those of"):
        qtorch.prepare(Ordering(function).eval(), X[:1])


def test_a_long_axis_is_refused() -> None:
    with pytest.raises(UnsupportedLayer, match="'sort'"):
        qtorch.prepare(Ordering(lambda y: torch.cat([y] * 40, -1).sort().values).eval(), X[:1])


class Counting(nn.Module):
    """Whose code makes numbers of sizes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, size = (int(each) for each in x.shape)
        assert isinstance(batch, int)
        y = self.layer(x).reshape(batch * steps, 2, int(size / 2)).relu()
        return torch.cat([torch.zeros(batch, int("1"), size), y.reshape(int(batch), steps, size)], 1)


def test_a_number_of_samples_stays_open() -> None:
    net = Counting().eval()
    qat = qtorch.prepare(net, X[:1]).eval()
    for count in (1, 2, 5):
        torch.testing.assert_close(qat(X[:count]), net(X[:count]))
    assert "int" not in globals()
