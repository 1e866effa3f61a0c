"""A tensor that several layers read in another type is put onto another grid once; module and TFLite Micro judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.engines import TFLM, tflm_available
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.tflite.writer import write_tflite
from qtorch import Mode


class _Branches(nn.Module):
    """Two heads that read one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.left, self.right = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.body(x))
        return self.left(y), self.right(y)


class _Square(nn.Module):
    """One layer that reads one tensor twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return y * y


class _Joined(nn.Module):
    """One reader whose grid is other tensors' too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.left, self.wide = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.relu(self.body(x))
        return self.left(y), torch.cat((y, 50 * self.wide(x)), 1)


_INT16 = {"activations": "int16"}


def _exported(net: nn.Module, layers: Mapping[str, Mapping[str, Any]]) -> tuple[Graph, Tensor]:
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    network = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(layers=layers)).eval()
    qtorch.calibrate(network, [x])
    qtorch.set_mode(network, Mode.QUANTIZED)
    return integer_graph(network), x


def _as_the_module(graph: Graph, net: nn.Module, x: Tensor) -> None:
    """TFLite Micro's outputs are the reference's, and the module's but for the steps of int8."""
    q = graph.values[graph.inputs[0]].qparams
    assert q is not None
    codes = q.quantize(x.numpy())
    expected = interpret(graph, (codes,))
    if tflm_available():
        for name, got in zip(graph.outputs, TFLM.run(write_tflite(graph), (codes,)), strict=True):
            np.testing.assert_array_equal(got, expected[name])
    with torch.no_grad():
        outputs = net.eval()(x)
    for name, wanted in zip(graph.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
        grid = graph.values[name].qparams
        assert grid is not None
        error = np.abs(grid.dequantize(expected[name]) - wanted.numpy()).max()
        assert error < 0.05 * float(wanted.abs().max())


@pytest.mark.parametrize(
    ("make", "layers"), [(_Branches, {"left": _INT16, "right": _INT16}), (_Square, {"mul": _INT16})]
)
def test_readers_that_want_the_same_share_one(make: type[nn.Module], layers: Mapping[str, Mapping[str, Any]]) -> None:
    torch.manual_seed(0)
    net = make()
    graph, x = _exported(net, layers)
    assert [node.op for node in graph.nodes].count("quantize") == 1
    _as_the_module(graph, net, x)


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (_Branches, {"left": _INT16, "right": {**_INT16, "margin": 0.5}}),
        (_Branches, {"left": _INT16, "right": {**_INT16, "observer": "fixed:-9:9"}}),
        (_Joined, {"left": _INT16, "cat": _INT16, "mul": _INT16, "wide": _INT16}),
    ],
)
def test_readers_that_want_another_grid_keep_their_own(
    make: type[nn.Module], layers: Mapping[str, Mapping[str, Any]]
) -> None:
    torch.manual_seed(0)
    net = make()
    graph, x = _exported(net, layers)
    made = [node for node in graph.nodes if node.op == "quantize" and node.inputs[0] not in graph.inputs]
    assert len({node.inputs[0] for node in made}) < len(made)
    assert len({graph.values[node.output].qparams for node in made}) == len(made)
    _as_the_module(graph, net, x)
