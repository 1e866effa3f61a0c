"""What no input reaches in a graph: computed once, or an expression that stays trainable."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from qtorch.capture.constant_folding import expression_of, fold_constants, make_permanent, without_batch
from qtorch.errors import UnsupportedLayer
from tests.exported_graphs import exported


class Case(nn.Module):
    """Four features through a function of this module and of them."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.layer = nn.Linear(4, 4)
        self.w = nn.Parameter(torch.rand(4) + 0.5)
        self.v = nn.Parameter(torch.rand(3))
        self.register_buffer("mask", torch.tensor([1.0, 0.0, 1.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def parametrized(change: Callable[[nn.Module], Any]) -> Callable[[], Case]:
    def build() -> Case:
        case = Case(lambda self, x: self.layer(x))
        change(case.layer)
        return case

    return build


def of(function: Callable[[Any, Tensor], Tensor]) -> Callable[[], Case]:
    return lambda: Case(function)


def fused(self: Any, x: Tensor) -> Tensor:
    shares = F.relu(self.v) / (F.relu(self.v).sum() + 1e-4)
    return shares[0] * x + shares[1] * x.sin() + shares[2] * x.cos()


def standardized(self: Any, x: Tensor) -> Tensor:
    w = self.layer.weight
    return F.linear(x, (w - w.mean(1, keepdim=True)) / (w.std(1, keepdim=True) + 1e-5), self.layer.bias)


#: How many expressions, of a network.
EXPRESSIONS = {
    "weight_norm": (1, parametrized(parametrizations.weight_norm)),
    "spectral_norm": (1, parametrized(parametrizations.spectral_norm)),
    "prune": (1, parametrized(lambda layer: prune.l1_unstructured(layer, "weight", 0.5))),
    "standardized": (1, of(standardized)),
    "2 * w": (1, of(lambda self, x: x * (2 * self.w))),
    "w * mask": (1, of(lambda self, x: x * (self.w * self.mask))),
    "w * mask.exp()": (1, of(lambda self, x: x * (self.w * self.mask.exp()))),
    "reshape": (1, of(lambda self, x: x * self.w.reshape(1, -1))),
    "None": (1, of(lambda self, x: (x[:, :, None] * self.w[None, :, None]).flatten(1))),
    "transposed": (1, of(lambda self, x: F.linear(x, self.layer.weight.t()))),
    "fused": (3, of(fused)),
    "twice": (1, of(lambda self, x: _both(x, 2 * self.w))),
    "frozen": (1, of(lambda self, x: x * (2 * self.w.requires_grad_(False)))),
    "detached": (1, of(lambda self, x: x * self.w.detach().exp())),
}


def _both(x: Tensor, w: Tensor) -> Tensor:
    return (x + w) * w


def expressions(graph: fx.GraphModule) -> list[fx.Node]:
    return [node for node in graph.graph.nodes if expression_of(graph, node) is not None]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_is_computed_from_parameters_stays_trainable(name: str) -> None:
    torch.manual_seed(0)
    count, build = EXPRESSIONS[name]
    net, x = build(), torch.randn(5, 4)
    graph = exported(net, x[:3])
    names = [each for each, _ in graph.named_parameters()]
    fold_constants(graph)
    assert len(expressions(graph)) == count
    assert {node.op for node in graph.graph.nodes if not node.all_input_nodes} <= {
        "placeholder",
        "get_attr",
        "call_module",
    }
    assert [each for each, _ in graph.named_parameters()] == names
    for _ in range(2):
        expected, got = net(x), graph(x)
        assert torch.equal(expected, got)
        own = [each for each in net.parameters() if each.requires_grad]
        gradients = [
            torch.autograd.grad(y.square().sum(), own, allow_unused=True, retain_graph=True)
            if y.requires_grad
            else None
            for y in (expected, got)
        ]
        assert (gradients[0] is None) == (gradients[1] is None)
        for a, b in zip(gradients[0] or (), gradients[1] or (), strict=True):
            assert (a is None) == (b is None)
            # Of a part that is in several expressions they are added in another order.
            assert a is None or torch.allclose(a, b, rtol=1e-6)
        with torch.no_grad():
            # The same parameters, so that it follows them.
            for each in net.parameters():
                each.mul_(1.25)


def test_what_nothing_trains_is_computed_once() -> None:
    def positions(self: Any, x: Tensor) -> Tensor:
        again = torch.arange(4.0).sin()
        return (x + torch.arange(4.0).sin() * 2) * self.mask + again * 2 + self.layer(x) + self.places.exp()

    net, x = Case(positions), torch.randn(5, 4)
    net.register_buffer("places", torch.arange(4.0))
    graph = exported(net, x)
    fold_constants(graph)
    assert not expressions(graph)
    read = [str(node.target) for node in graph.graph.find_nodes(op="get_attr")]
    # A read of a buffer stays; what has the same values is one buffer.
    assert read == ["layer.weight", "layer.bias", "mask", "mul_value", "mul_value", "exp_value"]
    assert torch.equal(graph.mul_value, torch.arange(4.0).sin() * 2)
    assert {"mul_value", "exp_value", "mask"} <= set(graph.state_dict())
    # What nothing reads any more is not the graph's, and still the network's.
    assert "places" not in graph.state_dict()
    assert "places" in net.state_dict()
    assert torch.equal(graph(x), net(x))


def test_a_number_of_a_buffer_is_that_number() -> None:
    graph = fx.Graph()
    x, mask = graph.placeholder("x"), graph.get_attr("mask")
    number = graph.call_method("item", (graph.call_method("sum", (mask,)),))
    graph.output(graph.call_method("mul", (x, number)))
    traced = fx.GraphModule(Case(_both), graph)
    fold_constants(traced)
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_method", "output"]
    assert torch.equal(traced(torch.ones(4)), torch.full((4,), 3.0))


def test_a_copy_computes_from_its_own_parameters() -> None:
    net, x = Case(lambda self, x: x * (2 * self.w)), torch.randn(5, 4)
    graph = exported(net, x)
    fold_constants(graph)
    copied = copy.deepcopy(graph)
    with torch.no_grad():
        copied.w.mul_(3.0)
    assert torch.equal(graph(x), net(x))
    assert torch.equal(copied(x), x * (2 * copied.w))
    copied.load_state_dict(graph.state_dict(), assign=True)
    assert torch.equal(copied(x), net(x))


def test_folding_again_folds_what_has_come_between() -> None:
    net, x = Case(lambda self, x: x * (2 * self.w)), torch.randn(5, 4)
    graph = exported(net, x)
    fold_constants(graph)
    before = [node.name for node in graph.graph.nodes]
    fold_constants(graph)
    assert [node.name for node in graph.graph.nodes] == before
    (found,) = expressions(graph)
    with graph.graph.inserting_after(found):
        squared = graph.graph.call_function(torch.ops.aten.square.default, (found,))
    found.replace_all_uses_with(squared, delete_user_cb=lambda user: user is not squared)
    fold_constants(graph)
    assert len(expressions(graph)) == 1
    with torch.no_grad():
        net.w.mul_(3.0)
    assert torch.equal(graph(x), x * (2 * net.w).square())
    # One in another finds its tensors in another module, by themselves.
    elsewhere = nn.Module()
    elsewhere.other = net.w
    (found,) = expressions(graph)
    expression = expression_of(graph, found)
    assert expression is not None
    expression.hold(elsewhere)
    assert [name for name, _ in expression.tensors()] == ["other"]
    expression.hold(graph)
    copied = copy.deepcopy(graph)
    with torch.no_grad():
        copied.w.mul_(3.0)
    assert torch.equal(graph(x), x * (2 * net.w).square())
    assert torch.equal(copied(x), x * (6 * net.w).square())


def test_an_expression_is_made_permanent() -> None:
    net, x = Case(lambda self, x: _both(x, 2 * self.w)), torch.randn(5, 4)
    graph = exported(net, x)
    fold_constants(graph)
    make_permanent(graph)
    expected = net(x)
    assert not expressions(graph)
    assert isinstance(graph.mul, nn.Parameter)
    with torch.no_grad():
        net.w.mul_(3.0)
    assert torch.equal(graph(x), expected)


class Noisy(nn.Module):
    """Other numbers at every call in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x) if self.training else x


class Drawing(Case):
    """A graph is made of it by hand, with layers in it that are whole."""

    def __init__(self) -> None:
        super().__init__(_both)
        self.dropout, self.noisy, self.norm = nn.Dropout(), Noisy(), nn.BatchNorm1d(4)
        self.square = nn.Parameter(torch.rand(4, 4))


def by_hand(fill: Callable[[fx.Graph], fx.Node]) -> fx.GraphModule:
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(graph.call_function(torch.ops.aten.mul.Tensor, (x, fill(graph))))
    return fx.GraphModule(Drawing().eval(), graph)


aten = torch.ops.aten
IMPURE: dict[str, Callable[[fx.Graph], fx.Node]] = {
    "drawn at random": lambda g: g.call_function(aten.rand_like.default, (g.get_attr("w"),)),
    "drawn at random: a function": lambda g: g.call_function(torch.bernoulli, (g.get_attr("mask"),)),
    "drawn at random: dropout": lambda g: g.call_function(aten.dropout.default, (g.get_attr("w"), 0.5, True)),
    "drawn at random in training": lambda g: g.call_module("noisy", (g.get_attr("w"),)),
    "written to in training": lambda g: g.call_module("norm", (g.get_attr("square"),)),
    "written to": lambda g: g.call_function(aten.mul_.Tensor, (g.get_attr("w"), 2)),
    "a number of Python": lambda g: g.call_method("item", (g.call_method("sum", (g.get_attr("w"),)),)),
}


def test_dropout_of_a_constant_is_left_out() -> None:
    traced = by_hand(lambda g: g.call_module("dropout", (g.get_attr("w"),)))
    fold_constants(traced)
    assert not any(node.target == "dropout" for node in traced.graph.nodes)


@pytest.mark.parametrize("what", IMPURE)
def test_a_constant_that_is_none_is_refused(what: str) -> None:
    traced = by_hand(IMPURE[what])
    state, drawn = copy.deepcopy(traced.state_dict()), torch.random.get_rng_state()
    with pytest.raises(UnsupportedLayer, match=f"^constant '.*got one that is {what.partition(':')[0]}. Remedy"):
        fold_constants(traced)
    assert all(torch.equal(state[name], tensor) for name, tensor in traced.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_layers_and_functions_may_be_in_an_expression() -> None:
    traced = by_hand(
        lambda g: g.call_module("layer", (g.call_function(aten.dropout.default, (g.get_attr("w"), 0.5, False)),))
    )
    fold_constants(traced)
    (found,) = expressions(traced)
    expression = expression_of(traced, found)
    assert expression is not None
    assert {name for name, _ in expression.tensors()} == {"w", "weight", "bias"}
    layer, w = traced.layer, traced.w
    with torch.no_grad():
        w.mul_(2.0)
    assert torch.equal(traced(torch.ones(4)), layer(w))


def test_a_switch_without_a_reader_is_left_alone() -> None:
    def fill(graph: fx.Graph) -> fx.Node:
        graph.call_function(torch._C._set_grad_enabled, (True,))
        return graph.call_function(aten.mul.Tensor, (graph.get_attr("w"), 2))

    traced = by_hand(fill)
    with torch.no_grad():
        fold_constants(traced)
        assert not torch.is_grad_enabled()
    assert any(node.target is torch._C._set_grad_enabled for node in traced.graph.nodes)


class Tokens(nn.Module):
    """A token in front of those that come in, for each sample, and a place for each."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.flat = nn.Parameter(torch.rand(1, 1, 4)), nn.Parameter(torch.rand(4))
        self.register_buffer("several", torch.rand(2, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        first = torch.cat([(2 * self.token).expand(batch, -1, -1), x], 1)
        second = first + self.flat.expand(batch, 3, 4) + self.token.repeat(batch, 3, 1)
        return torch.cat([second, self.several.repeat(batch, 2, 1)[:, :1].reshape(batch, 2, 4)], 1)


def test_what_is_repeated_for_each_sample_is_a_constant_of_one() -> None:
    torch.manual_seed(0)
    net, x = Tokens(), torch.randn(5, 2, 4)
    graph = exported(net, x)
    fold_constants(graph)
    assert torch.equal(graph(x), net(x))
    repeated = [node for node in graph.graph.nodes if node.target in (aten.expand.default, aten.repeat.default)]
    constants = [without_batch(graph, node) for node in repeated]
    shapes = [None if (e := expression_of(graph, each)) is None else tuple(e.shape) for each in constants]
    # What is several samples, repeated, is no constant of one.
    assert shapes == [(1, 1, 4), (1, 3, 4), (1, 3, 4), None]
    assert constants[-1] is repeated[-1]


def test_drawing_is_seen_where_there_are_no_values() -> None:
    traced = by_hand(IMPURE["drawn at random"]).to("meta")
    with pytest.raises(UnsupportedLayer, match="drawn at random"):
        fold_constants(traced)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_block_without_gradients_keeps_them_out() -> None:
    def frozen(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = self.w * 2 + self.mask
        return x * scale * (self.w * 3)

    net, x = Case(frozen), torch.randn(5, 4)
    graph = exported(net, x)
    fold_constants(graph)
    assert len(expressions(graph)) == 2
    expected, got = (torch.autograd.grad(each(x).sum(), net.w)[0] for each in (net, graph))
    assert torch.equal(expected, got)


def test_what_nothing_trains_is_computed_once_in_an_expression_too() -> None:
    _, build = EXPRESSIONS["w * mask.exp()"]
    graph = exported(build(), torch.randn(5, 4))
    fold_constants(graph)
    (found,) = expressions(graph)
    expression = expression_of(graph, found)
    assert expression is not None
    assert [each.path for each in expression.held()] == ["w", "exp_value"]
    assert len(expression.steps) == 1
