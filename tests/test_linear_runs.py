"""Small linear layers one behind the other are one function in training, which nobody notices but by its speed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qtorch
from qtorch import Mode
from qtorch.network import routes
from qtorch.network.quantized_op import QuantizedOp
from qtorch.numbers.linear_in_steps import linears_in_steps

pytestmark = pytest.mark.usefixtures("one_thread")


class Branch(nn.Module):
    """A result that two layers read, and a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.first(x))
        return self.last(self.twice(self.twice(y))), self.last(y)


def row(*widths: int, bias: bool = True) -> nn.Module:
    """Linear layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out, bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "four": lambda: row(4, 8, 6, 5, 2),
    "no biases": lambda: row(4, 8, 2, bias=False),
    "one": lambda: nn.Linear(4, 3),
    "a curve between": lambda: nn.Sequential(row(4, 8, 6), nn.Tanh(), row(6, 5, 2)),
    "six": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU6(), nn.Linear(8, 3)),
    "branch": Branch,
}
X = torch.randn(30, 4, generator=torch.Generator().manual_seed(3))


def trained(build: Callable[[], nn.Module]) -> qtorch.QuantizedNetwork:
    """A prepared network in quantized training."""
    torch.manual_seed(1)
    qat = qtorch.prepare(build(), X[:1])
    qtorch.calibrate(qat, [X])
    qtorch.set_mode(qat.train(), Mode.QUANTIZED)
    return qat


def observed(qat: nn.Module) -> dict[str, Tensor]:
    """What each layer gives, once the network has been called; a layer that is looked at is computed by itself."""
    seen: dict[str, Tensor] = {}
    for name, module in qat.named_modules():
        if isinstance(module, QuantizedOp):
            module.register_forward_hook(lambda m, i, y, n=name: seen.__setitem__(n, y.detach().clone()))
    return seen


def results(qat: nn.Module, loss: Callable[[nn.Module, Tensor], Tensor]) -> list[Tensor]:
    """Of a loss: it, and all gradients, the input's first."""
    x = X.clone().requires_grad_()
    value = loss(qat, x)
    tensors = [x, *qat.parameters()]
    value.backward()
    return [value.detach(), *(torch.zeros_like(each) if each.grad is None else each.grad for each in tensors)]


def plain(qat: nn.Module, x: Tensor) -> Tensor:
    """A loss of the outputs."""
    y = qat(x)
    outputs = y if isinstance(y, tuple) else (y,)
    return torch.stack(
        [(each * torch.linspace(-1, 2, each.numel()).reshape(each.shape)).sum() for each in outputs]
    ).sum()


def penalty(qat: nn.Module, x: Tensor) -> Tensor:
    """A loss of the gradients of the outputs."""
    (slope,) = torch.autograd.grad(plain(qat, x) + qat(x)[0].square().sum(), x, create_graph=True)
    return slope.square().sum()


@pytest.mark.parametrize("loss", [plain, penalty])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_is_what_its_layers_are(name: str, loss: Callable[[nn.Module, Tensor], Tensor]) -> None:
    if name == "branch" and loss is penalty:
        pytest.skip("its first output is one of two")
    together, apart = trained(NETWORKS[name]), trained(NETWORKS[name])
    seen = observed(apart)
    for got, expected in zip(results(together, loss), results(apart, loss), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert seen
    assert all(bool(each.any()) for each in seen.values())


@pytest.mark.parametrize(
    ("name", "runs"), [("four", [4]), ("one", [1]), ("a curve between", [2, 2]), ("branch", [1, 1, 3]), ("six", [2])]
)
def test_which_layers_are_computed_together(name: str, runs: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def counted(x: Tensor, parameters: Any, figures: Any) -> Tensor:
        counts.append(len(figures))
        return linears_in_steps(x, parameters, figures)

    monkeypatch.setattr(routes, "linears_in_steps", counted)
    qat = trained(NETWORKS[name])
    qat(X)
    assert sorted(counts) == sorted(runs)
    counts.clear()
    observed(qat)
    qat(X)
    with torch.no_grad():
        qat(X)
    qat(torch.randn(3000, 4))
    assert not counts


def test_a_layer_that_is_looked_at_gives_its_own_result() -> None:
    qat = trained(NETWORKS["four"])
    seen = observed(qat)
    qat(X)
    assert [tuple(each.shape) for each in seen.values()] == [(30, 8), (30, 6), (30, 5), (30, 2)]


def test_many_samples_give_what_few_do() -> None:
    """They are computed by PyTorch."""
    qat = trained(NETWORKS["four"])
    x = torch.randn(3000, 4)
    assert torch.equal(qat(x), torch.cat([qat(part) for part in x.split(100)]))


def test_a_weight_that_is_no_number_passes_on() -> None:
    qat = trained(NETWORKS["four"])
    with torch.no_grad():
        qat.get_parameter("2.weight")[0, 0] = torch.nan
    assert bool(qat(X).isnan().any())
    with torch.no_grad():
        qat.get_parameter("2.weight")[0, 0] = torch.inf
    assert bool(qat(X).isnan().any())
