"""Softmaxes over more values than the 8-bit kernel sums up: in 16 bits by themselves, the network's own function."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.forms.onnx.parity import onnx_parity
from export.forms.onnx.writer import write_onnx
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.ir import Graph
from qtorch.ops import ROWS
from tests.exact_networks import require_exact


class PlacesOfPeaks(nn.Module):
    """Where the peak of each of two images lies, as pose networks end: a softmax over all pixels, and two means."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.register_buffer("axis", torch.linspace(-1, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        images = self.conv(x)
        shares = (8 * images).flatten(2).softmax(-1).view(images.shape)
        return torch.stack([(shares.sum(2) * self.axis).sum(-1), (shares.sum(3) * self.axis).sum(-1)], -1)


class Pooled(nn.Module):
    """Steps of a sequence, each by the weight that it is given."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.score = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.score(x).softmax(1)).sum(1)


def classes(count: int) -> nn.Module:
    return nn.Sequential(nn.Linear(8, count), nn.Softmax(-1))


def types(graph: Graph) -> list[str]:
    """Of each softmax's result."""
    return [graph.values[node.outputs[0]].dtype for node in graph.nodes if node.op == "softmax"]


@pytest.mark.tflm
def test_a_softmax_over_an_image() -> None:
    torch.manual_seed(0)
    x = torch.rand(12, 1, 24, 24)
    x[torch.arange(12), 0, torch.randint(24, (12,)), torch.randint(24, (12,))] += 4
    graph = require_exact(PlacesOfPeaks(24).eval(), x, lost=0.05)
    assert types(graph) == ["int16"]
    assert {graph.values[name].dtype for name in (*graph.inputs, *graph.outputs)} == {"int8"}


@pytest.mark.tflm
def test_weights_of_steps() -> None:
    torch.manual_seed(0)
    assert types(require_exact(Pooled(4).eval(), torch.randn(12, 600, 4), lost=0.05)) == ["int16"]


@pytest.mark.tflm
@pytest.mark.parametrize(("count", "dtype"), [(511, "int8"), (512, "int16"), (1000, "int16")])
def test_many_classes(count: int, dtype: str) -> None:
    torch.manual_seed(0)
    assert types(require_exact(classes(count).eval(), 4 * torch.randn(40, 8))) == [dtype]


@pytest.mark.tflm
def test_beside_weights_of_4_bits() -> None:
    torch.manual_seed(0)
    graph = require_exact(classes(600).eval(), 4 * torch.randn(40, 8), qtorch.QuantizationConfig(weight_bits=4))
    assert types(graph) == ["int16"]
    assert graph.values[graph.nodes[0].inputs[1]].dtype == "int4"


class Forbidden(nn.Module):
    """Scores of which some get nothing."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.scores = nn.Linear(8, count)
        self.register_buffer("forbidden", torch.arange(count) > count - 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(x).masked_fill(self.forbidden, -1e9).softmax(-1)


@pytest.mark.tflm
def test_a_mask_in_front_has_the_softmaxs_type() -> None:
    torch.manual_seed(0)
    graph = require_exact(Forbidden(600).eval(), torch.randn(16, 8))
    assert [graph.values[node.outputs[0]].dtype for node in graph.nodes if node.op == "minimum"] == ["int16"]


def test_onnx_may_lie_further_off_where_more_numbers_are_summed() -> None:
    """As many exponentials below the kernel's least as there are, each of which it takes for a step."""
    torch.manual_seed(0)
    prepared = qtorch.prepare(nn.Softmax(-1), torch.randn(1, 1024))
    x = torch.full((4, 1024), -16.0)
    x[torch.arange(4), torch.arange(4)] = 0
    qtorch.calibrate(prepared, [x])
    qtorch.set_mode(prepared.eval(), qtorch.Mode.QUANTIZED)
    graph = integer_graph(prepared)
    found = onnx_parity(graph, write_onnx(graph), codes_of(graph, x))
    assert 512 < found.largest["softmax"] <= ROWS["softmax"].onnx.allowed("int16", (1024,))


def test_one_left_in_floats_stays_there() -> None:
    torch.manual_seed(0)
    config = qtorch.QuantizationConfig(layers={"1": {"skip": True}})
    prepared = qtorch.prepare(classes(600).eval(), torch.randn(1, 8), config)
    assert [op.config.activations for op in prepared.modules() if isinstance(op, qtorch.QuantizedOp)][1] == "int8"
