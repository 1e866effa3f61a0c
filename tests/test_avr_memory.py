"""Plain C for AVR that an Uno's memory does not hold: it is judged on the same core with more."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.boards import board
from export.c.compiled import compiled_c
from export.c.model import c_model
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from firmware.emulation import MACHINES, available

_MISSING = available(MACHINES["atmega328p"])


@pytest.mark.avr
@pytest.mark.skipif(_MISSING is not None, reason=str(_MISSING))
def test_what_an_uno_has_no_room_for_runs_on_its_core_with_more_memory() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 1, 24, 40)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 12 * 20, 3))
    graph = integer_graph(qtorch.quantize(net.eval(), x))
    files = c_model("net", graph, board("mega2560"), "balanced", ()).files
    engine = compiled_c("net", files, graph, "avr")
    assert engine is not None
    codes = np.random.default_rng(0).integers(-128, 128, (3, 24, 40, 1), dtype=np.int8)
    assert np.array_equal(engine.run(b"", (codes,))[0], interpret(graph, (codes,))[graph.outputs[0]])
