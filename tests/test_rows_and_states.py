"""Networks computed row by row whose strides leave rows out, or that keep states: everything that is made has a place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.c.canaries import disjoint, require_sound_plan
from export.c.compiled import c_compiler
from export.c.network import CNetwork, RowLoop, c_network
from export.graph.build import integer_graph
from export.graph.ir import Graph, State
from tests.test_profile import graph_of
from tests.test_random_networks import a_dozen

pytestmark = [
    pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)"),
    pytest.mark.usefixtures("one_thread"),
]


def _sound(graph: Graph, network: CNetwork) -> None:
    assert network.plan.peak < network.whole
    assert disjoint(network) == []
    require_sound_plan("net", network, tuple(array[:3] for array in a_dozen(graph)))


def _loops(network: CNetwork) -> list[RowLoop]:
    return [item for item in network.run if isinstance(item, RowLoop)]


def test_rows_that_a_stride_leaves_out_are_written_somewhere() -> None:
    """Windows of one row, every third: what is made in between nobody reads, and it must not fall on what is needed."""
    graph = graph_of(nn.Sequential(nn.Conv2d(2, 6, (1, 3), (3, 1), (0, 2)), nn.Conv2d(6, 1, 1)), 2, 12, 5)
    found = c_network(graph, optimize="ram")
    nodes = [node for loop in _loops(found) for node in loop.part.section.nodes]
    assert any(window.stride > window.window for node in nodes for _, window in node.reads.values())
    _sound(graph, found)


class Early(nn.Module):
    """The state is read through windows, and what it becomes is made a few rows behind."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.last = nn.Conv2d(4, 4, (5, 1), 1, (2, 0)), nn.Conv2d(4, 4, 1)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        new = self.last(self.deep(state) + x)
        return self.out(new.relu()), new


class Late(Early):
    """What the state becomes is made where it lies, by rows."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        deep = self.deep(x + state)
        return self.out(deep), deep + x


@pytest.mark.parametrize(("net", "rows"), [(Early(), 5), (Late(), 20)], ids=["early", "late"])
def test_states_are_read_and_made_row_by_row(net: nn.Module, rows: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 4, rows, 1), torch.rand(20, 4, rows, 1)
    qat = qtorch.prepare(net.eval(), (x[0][:1], x[1][:1]))
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    (source, name), (output, after) = graph.inputs, graph.outputs
    values = {**graph.values, after: replace(graph.values[after], qparams=graph.values[name].qparams)}
    first = np.random.default_rng(0).integers(-128, 128, values[name].shape, dtype=np.int8)
    graph = replace(graph, values=values, inputs=(source,), outputs=(output,), states=(State(name, after, first),))
    found = c_network(graph, optimize="ram")
    nodes = [graph.nodes[node.index] for loop in _loops(found) for node in loop.part.section.nodes]
    assert any({name, after} & {*node.inputs, *node.outputs} for node in nodes)
    _sound(graph, found)
