"""Channels last from input to output: which ops remain, and that nothing but the order changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.lower import lower
from export.graph.passes.layout import layout
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite


class Traced(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def prepared(net: nn.Module, *shape: int) -> fx.GraphModule:
    torch.manual_seed(0)
    x = torch.randn(16, *shape)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    return qat


def gated(net: Traced, x: Tensor) -> Tensor:
    a, b = torch.chunk(net.get_submodule("a")(x), 2, 1)
    return a * b


def conv(a: int, b: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())


CASES = {
    "conv, flatten, linear": (
        nn.Sequential(conv(3, 4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 5)),
        (3, 6, 6),
        ["conv_2d", "max_pool_2d", "fully_connected"],
    ),
    "an activation behind the flatten": (
        nn.Sequential(conv(3, 4), nn.Flatten(), nn.Hardswish(), nn.Linear(4 * 36, 5)),
        (3, 6, 6),
        ["conv_2d", "hard_swish", "fully_connected"],
    ),
    "residual and concatenation": (
        Traced(lambda m, x: torch.cat([F.relu(m.a(x) + x), m.b(x)], 1), a=nn.Conv2d(3, 3, 3, padding=1), b=conv(3, 2)),
        (3, 5, 6),
        ["conv_2d", "add", "conv_2d", "concatenation"],
    ),
    "squeeze and excite": (
        Traced(
            lambda m, x: x * torch.sigmoid(m.b(F.relu(m.a(x.mean((2, 3)))))).view(-1, 3, 1, 1),
            a=nn.Linear(3, 2),
            b=nn.Linear(2, 3),
        ),
        (3, 5, 6),
        ["mean", "fully_connected", "fully_connected", "logistic", "reshape", "mul"],
    ),
    "one dimension": (
        nn.Sequential(nn.Conv1d(3, 4, 3), nn.LeakyReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 2, 3, groups=2), nn.Flatten()),
        (3, 20),
        ["conv_2d", "leaky_relu", "max_pool_2d", "conv_2d", "transpose", "reshape"],
    ),
    "split along the channels": (
        Traced(gated, a=nn.Conv2d(3, 4, 1)),
        (3, 4, 4),
        ["conv_2d", "split", "mul"],
    ),
    "a sequence of features": (
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(-1)),
        (5, 6),
        ["fully_connected", "fully_connected", "softmax"],
    ),
}


@pytest.mark.tflm
@pytest.mark.parametrize("case", CASES)
def test_only_the_ops_that_the_network_asked_for(case: str) -> None:
    net, shape, ops = CASES[case]
    qat = prepared(net, *shape)
    graph = integer_graph(qat)
    assert [node.op for node in graph.nodes] == ops
    assert parity(graph, write_tflite(graph), corner_codes(graph, 20), qat, reported=()).engines["tflm"].inputs


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("input_layout", ["nhwc", "nchw"])
def test_the_pass_changes_nothing_but_the_order(case: str, input_layout: str) -> None:
    net, shape, _ = CASES[case]
    naive = lower(prepared(net, *shape))
    moved = layout(naive, input_layout)  # type: ignore[arg-type]
    codes = corner_codes(naive, 30)
    stored = tuple(moved.store(name, each) for name, each in zip(moved.inputs, codes, strict=True))
    expected, got = interpret(naive, codes), interpret(moved, stored)
    for a, b in zip(naive.outputs, moved.outputs, strict=True):
        np.testing.assert_array_equal(expected[a], moved.view(b).restore(got[b]))


def test_images_are_stored_with_their_channels_last_unless_asked() -> None:
    qat = prepared(conv(3, 4), 3, 5, 6)
    last, first = integer_graph(qat), integer_graph(qat, "nchw")
    assert [g.values[g.inputs[0]].shape for g in (last, first)] == [(1, 5, 6, 3), (1, 3, 5, 6)]
    assert [n.op for n in first.nodes] == ["transpose", "conv_2d"]
    array = np.arange(2 * 90, dtype=np.int8).reshape(2, 3, 5, 6)
    view = last.view(last.inputs[0])
    np.testing.assert_array_equal(view.store(array, (1, 5, 6, 3)), array.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(view.restore(view.store(array, (1, 5, 6, 3))), array)


@pytest.mark.parametrize(
    ("net", "size", "ops"),
    [
        (nn.Conv2d(2, 3, 3, padding=1), 5, ["conv_2d"]),
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), 5, ["conv_2d"]),
        (nn.Conv2d(2, 3, 3, stride=2, padding=1), 6, ["pad", "conv_2d"]),
        (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 3, 3, stride=2)), 6, ["conv_2d"]),
        (nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(2, 3, 3, stride=2)), 6, ["pad", "conv_2d"]),
        (nn.MaxPool2d(3, 2, padding=1), 6, ["padv2", "max_pool_2d"]),
        (nn.MaxPool2d(3, 2, padding=1), 5, ["max_pool_2d"]),
        (nn.AvgPool2d(3, 1, padding=1), 5, ["pad", "average_pool_2d"]),
        (nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), 5, ["average_pool_2d"]),
        (nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1), 5, ["transpose_conv"]),
        (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), 5, ["transpose_conv", "slice"]),
        (nn.Conv2d(2, 3, 3, padding="same", dilation=2), 7, ["conv_2d"]),
    ],
)
@pytest.mark.tflm
def test_padding_in_tflites_terms(net: nn.Module, size: int, ops: list[str]) -> None:
    qat = prepared(net, 2, size, size)
    graph = integer_graph(qat)
    assert [node.op for node in graph.nodes] == ops
    assert parity(graph, write_tflite(graph), corner_codes(graph, 20), qat, reported=()).engines["tflm"].inputs
