"""Graphs of integers behind float32 inputs and outputs, and how engines' outputs are held against the reference's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.engines import TFLM
from export.graph.build import build, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity import float_ends
from export.parity.float_ends import codes_behind, fed, float_outputs_parity
from export.parity.outputs import EngineParity, corner_codes
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError


@pytest.fixture(scope="module")
def graphs() -> tuple[Graph, Graph]:
    """The same integers, and with float32 ends."""
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), x[:1]).eval()
    qtorch.calibrate(qat, [x])
    return integer_graph(qat), build(qat, io="float32")


def test_float_inputs_are_fed_the_numbers_that_their_codes_stand_for(graphs: tuple[Graph, Graph]) -> None:
    graph, outer = graphs
    codes = corner_codes(graph, 30)
    assert fed(graph, codes)[0] is codes[0]
    (real,) = fed(outer, codes)
    np.testing.assert_array_equal(real, graph.values[graph.inputs[0]].dequantize(codes[0]))
    computed = interpret(outer, (real,), every=True)
    np.testing.assert_array_equal(computed[graph.inputs[0]], codes[0])


def test_what_reads_the_inputs_is_asked(graphs: tuple[Graph, Graph]) -> None:
    graph, outer = graphs
    assert codes_behind(graph) is None
    assert codes_behind(outer) == graph.inputs


@pytest.mark.tflm
def test_a_wrong_output_is_named_by_how_many_there_are(
    graphs: tuple[Graph, Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, outer = graphs
    model, inputs = write_tflite(outer), fed(outer, corner_codes(graph, 10))
    float_outputs_parity(outer, model, inputs, "reference on {wrong} outputs", TFLM)

    def wrong(graph: Graph, inputs: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        found = interpret(graph, inputs)
        found[graph.outputs[0]][[0, 3], [1, 2]] += 1
        return found

    monkeypatch.setattr(float_ends, "interpreted", wrong)
    with pytest.raises(ParityError, match="tflm differs from the reference on 2 outputs"):
        float_outputs_parity(outer, model, inputs, "reference on {wrong} outputs", TFLM)


def test_outputs_are_counted_and_the_farthest_is_measured() -> None:
    """Over all outputs; codes at the ends of 32 bits lie as far apart as they do, floats count as whole steps."""
    ends = np.array([[-(2**31)], [5]], np.int32), np.array([[2**31 - 1], [5]], np.int32)
    small = np.array([[1, 2], [3, 4]], np.int8)
    assert EngineParity.of("1", (ends[0], small), (ends[1], small)) == EngineParity("1", 2, 6, 1, 2**32 - 1)
    assert EngineParity.of("1", (small,), (small,)) == EngineParity("1", 2, 4, 0, 0)
    real = small.astype(np.float32)
    assert EngineParity.of("1", (real + np.float32(0.25),), (real,)) == EngineParity("1", 2, 4, 4, 1)
