"""Small graphs, and what each pass is shown on: their texts before and after stand in tests/golden.

``python -m tests.pass_cases`` writes those files; what it writes is read before it is committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.graph.ir import Graph, Node, Value, check
from export.graph.lower import lower
from export.graph.passes.float_interface import float_interface
from export.graph.passes.frozen import frozen
from export.graph.passes.layout import layout
from export.graph.passes.padding import padding
from export.graph.passes.unread_padding import unread_padding
from export.graph.passes.weight_only import dynamic_range, half_weights
from export.graph.passes.zero_biases import zero_biases
from export.graph.text import text_of
from qtorch.numbers.qparams import QParams

__all__ = ["GOLDEN", "LOWERED", "PASSES", "PassCase", "golden_text", "network"]

GOLDEN = Path(__file__).parent / "golden"

_SAME = {"dilation_h": 1, "dilation_w": 1, "stride_h": 1, "stride_w": 1, "activation": "none"}


@dataclass(frozen=True)
class PassCase:
    """One pass on one graph."""

    run: Callable[[Graph], Graph]
    graph: Callable[[], Graph]


class Traced(nn.Module):
    """A function of an input and this module's layers, as a module."""

    def __init__(self, function: Callable[[Any, Tensor], object], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def network(net: nn.Module, *shape: int, config: qtorch.QuantizationConfig | None = None) -> Any:
    """Prepared and calibrated on numbers that are the same everywhere, its parameters set to such numbers."""
    with torch.no_grad():
        for parameter in net.parameters():
            values = torch.arange(parameter.numel(), dtype=torch.float32)
            parameter.copy_(((values * 5 % 7 - 3) / 4).reshape(parameter.shape))
    count = 8 * int(np.prod(shape))
    x = ((torch.arange(count, dtype=torch.float32) * 11 % 17 - 8) / 4).reshape(8, *shape)
    qat = qtorch.prepare(net.eval(), x[:1], config or qtorch.QuantizationConfig()).eval()
    qtorch.calibrate(qat, [x])
    return qat


def _convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))


def _joined(net: Any, x: Tensor) -> Tensor:
    return torch.cat([F.relu(net.a(x)), x], 1)


def _halves(net: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.chunk(x, 2, 1)
    return b, a


def _joint() -> nn.Module:
    return Traced(_joined, a=nn.Conv2d(2, 2, 1))


def _shuffle() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 1), nn.ChannelShuffle(2), nn.Conv2d(4, 4, 1, groups=4))


def _pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.MaxPool2d(3, 2, padding=1))


_SKIPS = qtorch.QuantizationConfig(layers={"0": {"skip": True}})

#: What networks become before any pass.
LOWERED: dict[str, Callable[[], Graph]] = {
    "images": lambda: lower(network(_convolution(), 2, 1, 2)),
    "sequences": lambda: lower(network(nn.Conv1d(2, 2, 2), 2, 4)),
    "a layer left in float": lambda: lower(network(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), 3, config=_SKIPS)),
    "floats": lambda: lower(network(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), 3), floats=True),
    "several outputs": lambda: lower(network(Traced(_halves), 4, 2)),
    "axes that are dropped": lambda: lower(network(Traced(lambda net, x: x.mean(2)), 2, 3)),
}


def _lowered(net: Callable[[], nn.Module], *shape: int, floats: bool = False) -> Callable[[], Graph]:
    return lambda: lower(network(net(), *shape), floats=floats)


def _laid_out(net: Callable[[], nn.Module], *shape: int, floats: bool = False) -> Callable[[], Graph]:
    return lambda: layout(lower(network(net(), *shape), floats=floats))


def given_back() -> Graph:
    """A graph whose second output is its input."""
    grid = QParams((0.5,), (-3,))
    values = {"x": Value((1, 2, 3, 4), grid), "turned": Value((1, 3, 4, 2), grid)}
    nodes = (Node("transpose", {"perm": (0, 2, 3, 1)}, ("x",), ("turned",)),)
    return check(Graph(values, nodes, ("x",), ("turned", "x")))


def padded_convolution(kernel: int, stride: int, before: int, behind: int, size: int) -> Callable[[], Graph]:
    """A PAD of its own before a convolution that has none."""

    def graph() -> Graph:
        grid, whole = QParams((0.5,), (-3,)), size + before + behind
        weight = np.arange(kernel * kernel, dtype=np.int8).reshape(1, kernel, kernel, 1)
        pads = ((0, 0), (before, behind), (before, behind), (0, 0))
        out = (whole - kernel) // stride + 1
        values = {
            "x": Value((1, size, size, 1), grid),
            "padded": Value((1, whole, whole, 1), grid),
            "w": Value(weight.shape, QParams((0.25,), (0,), "int8", 0), weight),
            "b": Value((1,), QParams((0.125,), (0,), "int32", 0), np.array([7], np.int32)),
            "y": Value((1, out, out, 1), grid),
        }
        attrs = {**_SAME, "stride_h": stride, "stride_w": stride, "padding": ((0, 0), (0, 0))}
        nodes = (
            Node("pad", {"paddings": pads}, ("x",), ("padded",)),
            Node("conv_2d", attrs, ("padded", "w", "b"), ("y",)),
        )
        return check(Graph(values, nodes, ("x",), ("y",)))

    return graph


def _padded(net: Callable[[], nn.Module], *shape: int) -> Callable[[], Graph]:
    return lambda: padding(layout(lower(network(net(), *shape))))


def padding_that_nobody_reads() -> Graph:
    """PADs of one map: of the first one column is read by one of two windows, of the second nothing; the third is an
    output."""
    grid = QParams((0.5,), (-3,))
    window = {"filter_h": 1, "filter_w": 2, "stride_h": 1, "stride_w": 2, "padding": "valid", "activation": "none"}

    def padded(after: int) -> dict[str, Any]:
        return {"paddings": ((0, 0), (0, 0), (0, after), (0, 0))}

    values = {"x": Value((1, 1, 5, 1), grid), "out": Value((1, 1, 6, 1), grid)}
    values["padded2"] = Value((1, 1, 7, 1), grid)
    values |= {"value": Value((1,), grid, np.array([-128], np.int8)), "least": Value((1, 1, 6, 1), grid)}
    values |= {"y0": Value((1, 1, 3, 1), grid), "y1": Value((1, 1, 2, 1), grid)}
    values["y2"] = Value((1, 1, 2, 1), grid)
    nodes = (
        Node("pad", padded(2), ("x",), ("padded2",)),
        Node("max_pool_2d", window, ("padded2",), ("y0",)),
        Node("max_pool_2d", {**window, "stride_w": 3}, ("padded2",), ("y2",)),
        Node("padv2", padded(1), ("x", "value"), ("least",)),
        Node("max_pool_2d", {**window, "stride_w": 3}, ("least",), ("y1",)),
        Node("pad", padded(1), ("x",), ("out",)),
    )
    return check(Graph(values, nodes, ("x",), ("y0", "y1", "y2", "out")))


_WIDE = qtorch.QuantizationConfig(activations="int16")


def _of_16_bits() -> Graph:
    layers = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 2, bias=False), nn.Linear(2, 2))
    graph = layout(lower(network(layers, 1, 2, 2, config=_WIDE)))
    without = (replace(n, inputs=n.inputs[:2]) if n.op == "conv_2d" else n for n in padding(graph).nodes)
    return replace(padding(graph), nodes=tuple(without))


def _in_float(net: Callable[[], nn.Module], *shape: int) -> Callable[[], Graph]:
    return lambda: padding(layout(lower(network(net(), *shape), floats=True)))


#: Every pass, each on graphs that have what it acts on and on one that it leaves alone.
PASSES: dict[str, PassCase] = {
    "layout: a convolution and a flatten": PassCase(layout, _lowered(_convolution, 2, 1, 2)),
    "layout: channels first at the input": PassCase(lambda g: layout(g, "nchw"), _lowered(_convolution, 2, 1, 2)),
    "layout: channels that are joined": PassCase(layout, _lowered(_joint, 2, 2, 2)),
    "layout: a channel shuffle": PassCase(layout, _lowered(_shuffle, 2, 2, 2)),
    "layout: an input that is an output": PassCase(layout, given_back),
    "layout: nothing to do": PassCase(layout, _lowered(lambda: nn.Linear(3, 2), 3)),
    "padding: a PAD, and the least code for a maximum": PassCase(padding, _laid_out(_pooled, 1, 8, 8)),
    "padding: floats": PassCase(padding, _laid_out(_pooled, 1, 8, 8, floats=True)),
    "padding: SAME and VALID": PassCase(
        padding, _laid_out(lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3)), 1, 4, 4)
    ),
    "padding: an average that counts the padding": PassCase(
        padding, _laid_out(lambda: nn.Sequential(nn.AvgPool2d(3, 1, padding=1)), 1, 3, 3)
    ),
    "padding: a transposed convolution is cut": PassCase(
        padding, _laid_out(lambda: nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1, output_padding=1), 1, 2, 2)
    ),
    "padding: a PAD that SAME absorbs": PassCase(padding, padded_convolution(3, 1, 1, 1, 3)),
    "padding: a PAD that SAME can't say": PassCase(padding, padded_convolution(3, 2, 1, 0, 4)),
    "unread_padding: a stride that steps over the last column": PassCase(
        unread_padding, _padded(lambda: nn.Conv1d(1, 1, 3, stride=2, padding=1), 1, 6)
    ),
    "unread_padding: PADs of which less is left, nothing, and all": PassCase(unread_padding, padding_that_nobody_reads),
    "unread_padding: nothing to do": PassCase(unread_padding, _padded(lambda: nn.Conv2d(1, 1, 3, padding=1), 1, 4, 4)),
    "zero_biases: of 16 bits": PassCase(zero_biases, _of_16_bits),
    "zero_biases: of 8 bits nothing": PassCase(zero_biases, _padded(lambda: nn.Linear(2, 2, bias=False), 2)),
    "frozen: the table of a function": PassCase(
        frozen, _laid_out(lambda: nn.Sequential(nn.Linear(1, 1), nn.Hardsigmoid()), 1)
    ),
    "float_interface": PassCase(float_interface, _laid_out(lambda: nn.Conv2d(2, 1, 1), 2, 2, 2)),
    "half_weights": PassCase(half_weights, _in_float(_convolution, 2, 1, 2)),
    "dynamic_range": PassCase(dynamic_range, _in_float(_convolution, 2, 1, 2)),
}


def golden_text(name: str) -> str:
    """What the file of a case has to say."""
    if name in LOWERED:
        return text_of(LOWERED[name]())
    case = PASSES[name]
    before = case.graph()
    return f"before\n\n{text_of(before)}\nafter\n\n{text_of(case.run(before))}"


def golden_file(name: str) -> Path:
    """Of a case."""
    stem = "".join(c if c.isalnum() or c == "-" else "_" for c in name.replace(": ", "-"))
    return GOLDEN / f"{'lower-' if name in LOWERED else ''}{stem}.txt"


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for each in (*LOWERED, *PASSES):
        golden_file(each).write_text(golden_text(each))
