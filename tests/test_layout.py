"""Channels last from input to output: which ops remain, and that nothing but the order changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import qtorch
from export.engines.tflm import TFLM
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph, Node, Value, check
from export.graph.lower import lower
from export.graph.passes.layout import layout
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.numbers.qparams import QParams


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


def shuffled(x: Tensor, groups: int = 2) -> Tensor:
    """As ShuffleNets write it, of images and of sequences."""
    grouped = x.view(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    return grouped.transpose(1, 2).contiguous().view(x.shape)


def shuffle_units(net: Traced, x: Tensor) -> Tensor:
    """Each works on one half of the channels, which the next gets in another order."""
    x = net.get_submodule("a")(x)
    for name in "bc":
        kept, worked = x.chunk(2, 1)
        x = shuffled(torch.cat([kept, F.relu(net.get_submodule(name)(worked))], 1))
    return net.get_submodule("d")(x)


def tokens_and_back(net: Traced, x: Tensor) -> Tensor:
    x = net.get_submodule("a")(x)
    tokens = net.get_submodule("b")(x.flatten(2).transpose(1, 2))
    return net.get_submodule("c")(tokens.transpose(1, 2).reshape(x.shape))


def grouped(net: Traced, x: Tensor) -> Tensor:
    x = net.get_submodule("a")(x)
    groups = x.unflatten(1, (2, 4))
    return net.get_submodule("b")((groups * groups.mean((3, 4), keepdim=True)).flatten(1, 2))


def images(**layers: nn.Module) -> dict[str, nn.Module]:
    """A convolution to 8 channels in front."""
    return {"a": nn.Conv2d(3, 8, 3, padding=1), **layers}


def each_channel() -> nn.Module:
    return nn.Conv2d(8, 8, 3, padding=1, groups=8)


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
    "a channel shuffle": (
        Traced(lambda m, x: m.b(shuffled(m.a(x))), **images(b=each_channel())),
        (3, 6, 4),
        ["conv_2d", "reshape", "transpose", "reshape", "depthwise_conv_2d"],
    ),
    "a channel shuffle as a layer": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ChannelShuffle(4), nn.ReLU(), each_channel()),
        (3, 6, 4),
        ["conv_2d", "relu", "reshape", "transpose", "reshape", "depthwise_conv_2d"],
    ),
    "a channel shuffle, and a factor for each channel": (
        Traced(
            lambda m, x: m.b(shuffled(m.a(x)) * torch.linspace(0.1, 0.8, 8).view(1, 8, 1, 1)),
            **images(b=each_channel()),
        ),
        (3, 6, 4),
        ["conv_2d", "reshape", "mul", "transpose", "reshape", "depthwise_conv_2d"],
    ),
    "a channel shuffle of sequences": (
        Traced(lambda m, x: m.b(shuffled(m.a(x), 4)), a=nn.Conv1d(3, 8, 3), b=nn.Conv1d(8, 8, 3, groups=8)),
        (3, 20),
        ["conv_2d", "reshape", "transpose", "reshape", "depthwise_conv_2d"],
    ),
    "units that shuffle channels": (
        Traced(shuffle_units, **images(b=nn.Conv2d(4, 4, 1), c=nn.Conv2d(4, 4, 1), d=nn.Conv2d(8, 2, 1))),
        (3, 6, 4),
        ["conv_2d", *["split", "conv_2d", "concatenation", "reshape", "transpose", "reshape"] * 2, "conv_2d"],
    ),
    "a shuffle that a shuffle undoes": (
        Traced(lambda m, x: m.b(shuffled(F.relu6(shuffled(m.a(x))), 4)), **images(b=each_channel())),
        (3, 6, 4),
        ["conv_2d", "relu6", "depthwise_conv_2d"],
    ),
    "tokens of an image": (
        Traced(lambda m, x: m.b(m.a(x).flatten(2).transpose(1, 2)), **images(b=nn.Linear(8, 5))),
        (3, 6, 4),
        ["conv_2d", "reshape", "fully_connected"],
    ),
    "tokens, and an image of them": (
        Traced(tokens_and_back, **images(b=nn.Linear(8, 8), c=nn.Conv2d(8, 2, 1))),
        (3, 6, 4),
        ["conv_2d", "reshape", "fully_connected", "reshape", "conv_2d"],
    ),
    "groups of channels": (
        Traced(grouped, **images(b=nn.Conv2d(8, 2, 1))),
        (3, 6, 4),
        ["conv_2d", "reshape", "mean", "mul", "reshape", "conv_2d"],
    ),
    "a mean over all places": (
        Traced(lambda m, x: m.a(x).flatten(2).mean(2), **images()),
        (3, 6, 4),
        ["conv_2d", "reshape", "mean"],
    ),
    "a softmax over all places": (
        Traced(lambda m, x: m.a(x).flatten(2).softmax(-1), **images()),
        (3, 6, 4),
        ["conv_2d", "transpose", "reshape", "softmax"],
    ),
    "features of channels and frequencies at each time": (
        Traced(lambda m, x: m.b(m.a(x).transpose(1, 2).flatten(2)), **images(b=nn.Linear(32, 5))),
        (3, 6, 4),
        ["conv_2d", "reshape", "fully_connected"],
    ),
    "squares of places as channels, by a permute of six axes": (
        Traced(
            lambda m, x: m.b(m.a(x).view(-1, 8, 3, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(-1, 32, 3, 2)),
            **images(b=nn.Conv2d(32, 2, 1)),
        ),
        (3, 6, 4),
        ["conv_2d", *["reshape", "transpose"] * 2, "reshape", "conv_2d"],
    ),
    "six axes at the end": (
        Traced(lambda m, x: m.a(x).view(-1, 2, 4, 3, 2, 4).permute(0, 5, 3, 1, 4, 2), **images()),
        (3, 6, 4),
        ["conv_2d", "reshape"],
    ),
    "flattened images that are added": (
        Traced(
            lambda m, x: m.c(m.a(x).flatten(1) + m.b(x).flatten(1)), **images(b=nn.Conv2d(3, 8, 1), c=nn.Linear(192, 5))
        ),
        (3, 6, 4),
        ["conv_2d", "conv_2d", "add", "fully_connected"],
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


def test_a_network_without_transposes_keeps_the_graph_that_it_always_had() -> None:
    """Bytes of an exported model are promised: a reshape is carried no further where that only saves another."""
    gate = Traced(
        lambda m, x: m.a(x) * torch.sigmoid(m.b(m.a(x).mean((2, 3))).view(-1, 8, 1, 1)), **images(b=nn.Linear(8, 8))
    )
    ops = [node.op for node in integer_graph(prepared(gate, 3, 6, 4)).nodes]
    assert ops == ["conv_2d", "conv_2d", "mean", "fully_connected", "reshape", "logistic", "reshape", "mul"]


@pytest.mark.tflm
def test_six_axes_are_permuted_five_at_a_time() -> None:
    grid, shape = QParams((0.5,), (-3,)), (1, 2, 3, 2, 3, 2)
    values = {"x": Value(shape, grid), "turned": Value(shape[:1] + shape[:0:-1], grid), "y": Value((1, 72), grid)}
    nodes = (
        Node("transpose", {"perm": (0, 5, 4, 3, 2, 1)}, ("x",), ("turned",)),
        Node("reshape", {"shape": (1, 72)}, ("turned",), ("y",)),
    )
    naive = check(Graph(values, nodes, ("x",), ("y",)), laid_out=False)
    moved, codes = layout(naive), corner_codes(naive, 20)
    transposes = [node for node in moved.nodes if node.op == "transpose"]
    assert len(transposes) == 2
    assert all(len(node.attrs["perm"]) <= 5 for node in transposes)
    expected = interpret(naive, codes)["y"]
    np.testing.assert_array_equal(expected, codes[0].transpose(0, 5, 4, 3, 2, 1).reshape(-1, 72))
    for got in (interpret(moved, codes)[moved.outputs[0]], TFLM.run(write_tflite(moved), codes)[0]):
        np.testing.assert_array_equal(got, expected)


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
