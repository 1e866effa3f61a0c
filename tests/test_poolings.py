"""Adaptive poolings as modules and as functions: the module's own numbers, and TFLite Micro's codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import qtorch
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import UnsupportedLayer


class Called(nn.Module):
    """A function behind a layer, so that what is pooled has a grid of its own."""

    def __init__(self, call: Callable[[Tensor], Tensor], dimensions: int) -> None:
        super().__init__()
        self.layer: nn.Module = nn.Conv2d(3, 4, 1) if dimensions == 2 else nn.Conv1d(3, 4, 1)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.layer(x))


CASES: list[tuple[Any, int]] = [
    (lambda x: F.adaptive_max_pool1d(x, 1), 1),
    (lambda x: F.adaptive_max_pool1d(x, output_size=4), 1),
    (lambda x: F.adaptive_max_pool1d(x, 2, False), 1),
    (nn.AdaptiveMaxPool1d(3), 1),
    (lambda x: F.adaptive_max_pool2d(x, 1), 2),
    (lambda x: F.adaptive_max_pool2d(x, (2, 3)), 2),
    (lambda x: F.adaptive_max_pool2d(x, (None, 1)), 2),
    (lambda x: F.adaptive_max_pool2d(x, 4, return_indices=False), 2),
    (nn.AdaptiveMaxPool2d((3, 6)), 2),
    (nn.AdaptiveMaxPool2d((1, None)), 2),
    (lambda x: F.adaptive_avg_pool1d(x, 3), 1),
    (lambda x: F.adaptive_avg_pool2d(x, (2, 1)), 2),
    (nn.AdaptiveAvgPool2d((None, 2)), 2),
    (lambda x: F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1), 2),
]


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(("call", "dimensions"), CASES, ids=range(len(CASES)))
def test_adaptive_poolings(call: Any, dimensions: int, activations: str) -> None:
    torch.manual_seed(0)
    net, x = Called(call, dimensions).eval(), torch.randn(40, 3, *[12] * dimensions)
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(activations=activations)).eval()
    with torch.no_grad():
        torch.testing.assert_close(qat(x), net(x), rtol=1e-6, atol=1e-6)
        qtorch.calibrate(qat, [x])
        graph = integer_graph(qat)
        codes = corner_codes(graph, 30)
        assert all(array.dtype == np.dtype(activations) for array in codes)
        report = parity(graph, write_tflite(graph), codes, qat)
    assert report.engines["qat_network"].mismatches == 0
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    with torch.no_grad():
        wrong = (qat(x) - net(x)).abs().max()
    assert float(wrong) < 0.1


class One(nn.Module):
    """One of several tensors that a call gives."""

    def __init__(self, call: Any, number: int) -> None:
        super().__init__()
        self.call, self.number = call, number

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.call(x)[self.number]
        return found


@pytest.mark.parametrize("call", [nn.AdaptiveMaxPool2d(1, return_indices=True), nn.MaxPool2d(2, return_indices=True)])
def test_indices_are_refused(call: Any) -> None:
    with pytest.raises(UnsupportedLayer, match="leave the indices out"):
        qtorch.prepare(One(call, 1), torch.zeros(1, 3, 12, 12))
    qtorch.prepare(One(call, 0), torch.zeros(1, 3, 12, 12))
