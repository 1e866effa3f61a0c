"""Networks and examples of other types, on no device, or in other wrappings: prepared as the plain one, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import qtorch
from qtorch.errors import BadInput

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))


def pruned() -> nn.Sequential:
    net = layers()
    prune.l1_unstructured(net[0], "weight", amount=0.5)
    return net


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int64, torch.bool])
def test_an_example_of_another_type_is_one_of_float32(dtype: torch.dtype) -> None:
    assert qtorch.prepare(layers(), X[:1].to(dtype)).ops == qtorch.prepare(layers(), X[:1]).ops


@pytest.mark.parametrize(
    ("handed", "words"),
    [
        (lambda: (layers().double(), X), r"parameter '0\.weight': expected float32.*got torch\.float64.*\.float\(\)"),
        (lambda: (layers().half(), X), r"parameter '0\.weight'.*got torch\.float16"),
        (lambda: (layers(), X.to(torch.complex64)), "complex"),
        (lambda: (nn.Linear(6, 2), torch.zeros(6)), r"example_input: expected a batch.*unsqueeze\(0\)"),
        (lambda: (nn.Sequential(nn.Linear(6, 0)), X), r"at least one number, got shape \(0, 6\)"),
        (lambda: ("net.pt", X), r"network: expected a torch\.nn\.Module, got 'net\.pt'.*weights are loaded into"),
        (lambda: (torch.relu, X), r"expected a torch\.nn\.Module, got <built-in"),
        (lambda: (torch.jit.trace(layers().eval(), X), X), "expected a module of Python, got TopLevelTracedModule"),
        (
            lambda: (nn.Sequential(layers(), torch.jit.script(nn.ReLU())), X),
            "layer '1': expected a module of Python, got RecursiveScriptModule",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:Initializing zero-element")
def test_what_is_no_float32_network_is_refused_in_words(handed: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        qtorch.prepare(*handed())


def test_pruned_weights_are_those_of_the_moment() -> None:
    net = pruned().eval()
    torch.testing.assert_close(qtorch.prepare(net, X[:1]).eval()(X), net(X))


def test_a_network_without_values_is_prepared_by_its_shapes() -> None:
    there = qtorch.prepare(layers().to("meta"), X[:1].to("meta"))
    assert there.ops == qtorch.prepare(layers(), X[:1]).ops
    assert there(torch.zeros(3, 6, device="meta")).shape == (3, 2)


def test_a_weight_may_be_a_buffer() -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 3), torch.randn(4, 2, 6, 6)
    weight = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", weight)
    assert torch.equal(qtorch.prepare(layer, x[:1])(x), layer(x))
