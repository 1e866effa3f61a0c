"""A network through preparation and export: its own numbers in float, TFLite Micro's codes when quantized."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import qtorch
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from tests.module_oracle import difference, outputs

__all__ = ["require_exact"]


def require_exact(
    net: nn.Module, x: Tensor, config: qtorch.QuantizationConfig | None = None, *, lost: float = 1.0
) -> Graph:
    """The graph of a network in evaluation, whose file TFLite Micro computes as it does.

    Args:
        net: of one input and one output.
        x: calibration data, the batch's axis first.
        config: how to quantize.
        lost: the most that quantization may lose, as a share of the output's variance.
    """
    prepared = qtorch.prepare(net, x[:1], config)
    for count in (1, 3):
        assert not difference(net, outputs(net, [x[:count]]), outputs(prepared, [x[:count]]), [x[:count]])
    qtorch.calibrate(prepared, [x])
    qtorch.set_mode(prepared.eval(), qtorch.Mode.QUANTIZED)
    graph = integer_graph(prepared)
    parity(graph, write_tflite(graph), corner_codes(graph, 8), prepared, reported=())
    with torch.no_grad():
        found = float((prepared(x) - net(x)).square().mean() / net(x).var())
    assert found < lost
    return graph
