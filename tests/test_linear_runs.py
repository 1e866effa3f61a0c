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
from qtorch.errors import NotFinite
from qtorch.network import perceptron_at_once, routes
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


def trained(build: Callable[[], nn.Module], **options: Any) -> qtorch.QuantizedNetwork:
    """A prepared network in quantized training, of which something saturates where scales are learned."""
    torch.manual_seed(1)
    qat = qtorch.prepare(build(), X[:1], qtorch.QuantizationConfig(**options))
    qtorch.calibrate(qat, [X])
    with torch.no_grad():
        for name, each in qat.named_parameters():
            each.add_({"log_scale": -0.3, "log_weight_scale": -0.1, "zero_share": 0.02}.get(name.split(".")[-1], 0.0))
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


#: Of a network each: something of its grids is learned.
LEARNED: list[tuple[str, dict[str, Any]]] = [
    ("four", {"scales": "lsq"}), ("six", {"scales": "lsq+", "weight_bits": 4}), ("a curve between", {"scales": "lsq+"}),
    ("four", {"scales": "pact"}),
]  # fmt: skip


@pytest.mark.parametrize("loss", [plain, penalty])
@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NETWORKS), *LEARNED], ids=str)
def test_a_run_is_what_its_layers_are(
    name: str, loss: Callable[[nn.Module, Tensor], Tensor], options: dict[str, Any]
) -> None:
    if name == "branch" and loss is penalty:
        pytest.skip("its first output is one of two")
    together, apart = trained(NETWORKS[name], **options), trained(NETWORKS[name], **options)
    seen = observed(apart)
    for got, expected in zip(results(together, loss), results(apart, loss), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert seen
    assert all(bool(each.any()) for each in seen.values())


@pytest.mark.parametrize(
    ("name", "runs", "options"),
    [
        ("four", [4], {}), ("one", [1], {}), ("a curve between", [2, 2], {}), ("branch", [1, 1, 3], {}),
        ("six", [2], {}), ("four", [4], {"scales": "lsq+"}), ("six", [1], {"scales": "lsq"}),
    ],
)  # fmt: skip
def test_which_layers_are_computed_together(
    name: str, runs: list[int], options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def counted(x: Tensor, parameters: Any, figures: Any, *reals: Any) -> Tensor:
        counts.append(len(figures))
        return linears_in_steps(x, parameters, figures, *reals)

    for module in (routes, perceptron_at_once):
        monkeypatch.setattr(module, "linears_in_steps", counted)
    qat = trained(NETWORKS[name], **options)
    qat(X)
    assert sorted(counts) == sorted(runs)
    counts.clear()
    observed(qat)
    qat(X)
    with torch.no_grad():
        qat(X)
    qat(torch.randn(3000, 4))
    assert not counts


def moved(qat: Any) -> None:
    """Parameters that lie elsewhere, as a loop leaves them that writes to ``.data``."""
    for parameter in qat.parameters():
        parameter.data = parameter.data * 0.9


def replaced(qat: Any) -> None:
    """Another parameter in a layer."""
    qat.get_submodule("4").weight = nn.Parameter(qat.get_parameter("4.weight").detach() * 0.5)


def turned(qat: Any) -> None:
    """A weight in the same memory, by columns."""
    weight = qat.get_parameter("2.weight")
    weight.data = weight.data.t()


def other_grids(qat: Any) -> None:
    """A coarser input, and a coarser output."""
    qat.input_1_quantizer.coarsen(0.1)
    qat.get_submodule("4").output.coarsen(0.2)


class Doubled(nn.Module):
    """A module in another's place."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.of(x)


def another_module(qat: Any) -> None:
    """In the place of what makes real numbers."""
    name = next(name for name in qat._modules if name.endswith("_reals"))
    setattr(qat, name, Doubled(getattr(qat, name)))


def patched(qat: Any) -> None:
    """A forward of somebody's own."""
    layer = qat.get_submodule("2")
    layer.forward = lambda x, call=layer.forward: call(x).flip(0)


CHANGES = {each.__name__: each for each in (moved, replaced, turned, other_grids, another_module, patched)}


@pytest.mark.parametrize("options", [{}, {"scales": "lsq+"}], ids=str)
@pytest.mark.parametrize("change", CHANGES)
def test_a_perceptron_computes_with_what_it_is_now(change: str, options: dict[str, str]) -> None:
    """It is computed without calls of its modules, and of its parameters it remembers where they are."""
    together, apart = trained(lambda: row(4, 6, 6, 3), **options), trained(lambda: row(4, 6, 6, 3), **options)
    observed(apart)
    before = together(X)
    CHANGES[change](together)
    CHANGES[change](apart)
    got, expected = together(X), apart(X)
    assert torch.equal(got, expected)
    assert not torch.equal(got, before)
    for y in (got, expected):
        y.square().sum().backward()
    for mine, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_a_perceptron_calls_no_module_where_nobody_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[nn.Module] = []
    forward = QuantizedOp.forward
    monkeypatch.setattr(QuantizedOp, "forward", lambda self, *x: (called.append(self), forward(self, *x))[1])
    qat = trained(NETWORKS["four"])
    called.clear()
    qat(X)
    assert not called
    qat.register_forward_pre_hook(lambda *_: None)
    qat(X)
    assert len(called) == 4


def test_hooks_around_a_perceptron_are_called() -> None:
    """Of the network itself, and of its backward pass."""
    qat, seen = trained(NETWORKS["four"]), list[str]()
    qat.register_forward_hook(lambda *_: seen.append("network"))
    qat(X)
    qat.get_submodule("2").register_full_backward_hook(lambda *_: seen.append("layer"))
    qat(X).sum().backward()
    assert seen == ["network", "network", "layer"]


@pytest.mark.parametrize("options", [{}, {"scales": "lsq+"}], ids=str)
def test_two_calls_before_a_backward_pass_keep_their_own_numbers(options: dict[str, str]) -> None:
    """Figures are in memory that the second overwrites."""
    together, apart = trained(NETWORKS["four"], **options), trained(NETWORKS["four"], **options)
    observed(apart)
    for qat in (together, apart):
        first = qat(X)
        with torch.no_grad():
            for parameter in qat.parameters():
                parameter.mul_(0.5)
        second = qat(X)
        (first.square().sum() - second.sum()).backward()
    for mine, theirs in zip(together.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_in_evaluation_a_perceptron_names_what_is_no_number() -> None:
    qat = trained(NETWORKS["four"]).eval()
    x = X.clone()
    x[3, 1] = torch.nan
    with pytest.raises(NotFinite):
        qat(x)
    assert bool(qat.train()(x)[3].isnan().all())


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
