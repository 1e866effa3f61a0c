"""Weights of 4 bits make no constant of plain C larger, whose codes stay TFLite Micro's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.compiled import c_compiler, run_c
from export.c.model import c_model
from export.engines import TFLM, tflm_available
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.tflite.writer import write_tflite


def _graph(bits: int, seed: int) -> Graph:
    """A sine network, calibrated."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.linspace(0, 6.28, 500)[:, None]
    network = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(weight_bits=bits))  # type: ignore[arg-type]
    qtorch.calibrate(network, [x])
    return integer_graph(network.eval())


@pytest.mark.parametrize("seed", range(4))
def test_constants_of_four_bits_are_no_larger(seed: int) -> None:
    graphs = {bits: _graph(bits, seed) for bits in (8, 4)}
    models = {bits: c_model("m", graph) for bits, graph in graphs.items()}
    assert models[4].figures["constant_bytes"] <= models[8].figures["constant_bytes"]
    assert len(write_tflite(graphs[4])) < len(write_tflite(graphs[8]))
    graph, every = graphs[4], np.arange(-128, 128).astype(np.int8)[:, None]
    expected = interpret(graph, (every,))[graph.outputs[0]]
    if tflm_available():
        np.testing.assert_array_equal(TFLM.run(write_tflite(graph), (every,))[0], expected)
    if c_compiler() is not None:
        np.testing.assert_array_equal(run_c("m", models[4].files, graph, (every,))[0], expected)
