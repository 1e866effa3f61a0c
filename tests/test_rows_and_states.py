"""Networks computed row by row whose strides leave rows out, or that keep states: all that is made has a place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import qtorch
from export.c.canaries import disjoint, require_sound_plan
from export.c.compiled import c_compiler
from export.c.memory_plan import MemoryPlan
from export.c.model import CModel
from export.c.network import CNetwork, RowLoop, c_network
from export.graph.build import integer_graph
from export.graph.ir import Graph, State
from qtorch.errors import ParityError
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


def test_rows_may_be_missing_below_alone() -> None:
    """As TensorFlow pads even images under strides: the first windows are whole, the last ones are not."""
    net = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 2, 1))
    graph = graph_of(net, 2, 16, 16)
    assert graph.nodes[0].attrs["padding"] == "same"
    found = c_network(graph, optimize="ram")
    windows = [(node, window) for loop in _loops(found) for node in loop.part.section.nodes
               for _, window in node.reads.values()]  # fmt: skip
    assert any(not w.padding and w.first(node.rows - 1) + w.window > 16 for node, w in windows)
    _sound(graph, found)


def test_an_export_refuses_a_plan_that_overlaps_on_every_processor() -> None:
    graph = graph_of(nn.Sequential(nn.Conv2d(2, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 2, 3)), 2, 12, 12)
    network = c_network(graph, "avr", "ram")
    proven = CModel(network, {}, {})
    proven.prove_plan("net", a_dozen(graph))
    buffers = network.placement.lifetimes.buffers
    one, other = next((a, b) for a in buffers for b in buffers if a != b and a.overlaps(b))
    offsets = {**network.plan.offsets, one.name: network.plan.offsets[other.name]}
    placement = replace(network.placement, plan=MemoryPlan(offsets, network.plan.peak))
    wrong = replace(proven, network=replace(network, placement=placement))
    with pytest.raises(ParityError, match="lie on one another"):
        wrong.prove_plan("net", a_dozen(graph))
