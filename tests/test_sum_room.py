"""Sums as long as the network's shapes say, against TFLite Micro, which adds them in int32 and says nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.engines import TFLM, tflm_available
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.tflite.writer import write_tflite
from qtorch.errors import AccumulatorOverflow

needs_tflm = pytest.mark.skipif(not tflm_available(), reason="tflite-micro has wheels for Linux x86-64 only")


class Called(nn.Module):
    """A function as a network."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def pooled(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, x.shape[2:])


def averaged(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def normalized(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


def graph_of(net: nn.Module, x: Tensor, activations: str = "int8") -> Graph:
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(activations=activations)).eval()
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


def ends(graph: Graph) -> np.ndarray:
    """A sample of lowest codes and one of highest."""
    value = graph.values[graph.inputs[0]]
    return np.stack([np.full(value.shape[1:], code, value.dtype) for code in value.quantization.code_range])


def as_the_device(graph: Graph, codes: np.ndarray) -> bool:
    found = TFLM.run(write_tflite(graph), (codes,))[0]
    return np.array_equal(found, interpret(graph, (codes,))[graph.outputs[0]])


@needs_tflm
@pytest.mark.parametrize(("call", "fits"), [(pooled, (255, 257)), (averaged, (256, 256))])
def test_the_longest_sums_are_exact_and_longer_ones_are_refused_before_training(
    call: Callable[[Tensor], Tensor], fits: tuple[int, int]
) -> None:
    x = torch.rand(2, 1, *fits) * 2 - 1
    graph = graph_of(Called(call), x, "int16")
    assert as_the_device(graph, ends(graph))
    longer = torch.zeros(1, 1, 1, fits[0] * fits[1] + 1)
    with pytest.raises(AccumulatorOverflow, match=r"layer '.*': expected a .* whose sums are int32 .* fewer elements"):
        qtorch.prepare(Called(call), longer, qtorch.QuantizationConfig(activations="int16"))
    # 8 bits have room enough.
    qtorch.prepare(Called(call), longer)


@needs_tflm
def test_what_is_refused_is_what_the_device_gets_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # ``qtorch.preparation.prepare`` is imported as a function, so the module is looked up.
    monkeypatch.setattr(sys.modules["qtorch.preparation.prepare"], "require_possible_sums", lambda plans: None)
    monkeypatch.setattr("export.graph.lower.require_sum_room", lambda *arguments: None)
    graph = graph_of(Called(pooled), torch.rand(2, 1, 256, 256) * 2 - 1, "int16")
    assert not as_the_device(graph, ends(graph))


@needs_tflm
def test_what_the_range_decides_is_refused_where_it_is_known() -> None:
    """40,000 squares of codes that lie up to 128 from their zero point fit; of up to 255, they do not."""
    x = torch.rand(2, 40000)
    graph = graph_of(Called(normalized), 2 * x - 1)
    assert as_the_device(graph, ends(graph))
    with pytest.raises(AccumulatorOverflow, match="layer 'normalize'"):
        graph_of(Called(normalized), x)
    with pytest.raises(AccumulatorOverflow, match="layer 'normalize'"):
        qtorch.prepare(Called(normalized), torch.zeros(1, 140_000))


@needs_tflm
def test_a_layer_with_very_many_inputs_works_as_long_as_its_sums_fit() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(70_000, 1), torch.rand(2, 70_000)
    graph = graph_of(layer, x)
    assert as_the_device(graph, ends(graph))
    with torch.no_grad():
        layer.weight.fill_(0.01)
    qat = qtorch.prepare(layer, x[:1]).eval()
    qtorch.calibrate(qat, [x])
    for ask in (integer_graph, lambda net: qtorch.set_mode(net, qtorch.Mode.QUANTIZED)):
        with pytest.raises(AccumulatorOverflow, match=r"layer '0': .*fewer inputs"):
            ask(qat)
