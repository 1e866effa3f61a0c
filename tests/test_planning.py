"""Planning of long networks row by row: how long it takes, and how near it comes to what no plan can go below."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor, nn

from export.c.canaries import disjoint
from export.c.memory_plan import lower_bound
from export.c.network import RowLoop, c_network
from export.graph.ir import Graph
from recipes.mlperf_tiny import DSCNN, MobileNetV1, ResNet8
from tests.test_profile import graph_of

pytestmark = pytest.mark.usefixtures("one_thread")

#: Seconds of one processor that planning may take, and the operators that it may take them for.
SECONDS, OPERATORS = 10.0, 500


class Residual(nn.Module):
    """An inverted bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(4, 8, 1)
        self.deep = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.narrow = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.deep(self.wide(x).relu()).relu())


def long(block: nn.Module, size: int) -> Graph:
    """A layer that is repeated until the graph has 500 operators, each time on slightly other grids."""
    graph = graph_of(block, 4, size, size)
    (source,), (sink,) = graph.inputs, graph.outputs
    values, nodes, last = {source: graph.values[source]}, [], source
    for turn in range(-(-OPERATORS // len(graph.nodes))):
        called = {name: f"{name} {turn}" for name in graph.values} | {source: last}
        again = graph.renamed(called)
        for name, value in again.values.items():
            grid = value.qparams
            if value.data is None and grid is not None and name != last:
                scales = tuple(float(np.float32(scale * (1 + turn / 1000))) for scale in grid.scale)
                value = replace(value, qparams=replace(grid, scale=scales))
            values.setdefault(name, value)
        nodes += again.nodes
        last = called[sink]
    return Graph(values, tuple(nodes), graph.inputs, (last,))


@pytest.mark.parametrize(
    ("block", "size", "helps"),
    [(Residual(), 96, True), (nn.Conv2d(4, 4, 3, 1, 1), 64, False), (nn.MaxPool2d(3, 1, 1), 32, False)],
    ids=["residual", "chain", "poolings"],
)
def test_five_hundred_operators_are_planned_in_ten_seconds(block: nn.Module, size: int, helps: bool) -> None:
    graph = long(block, size)
    assert len(graph.nodes) >= OPERATORS
    began = time.process_time()
    network = c_network(graph, optimize="ram")
    assert time.process_time() - began < SECONDS
    assert any(isinstance(item, RowLoop) for item in network.run) == helps
    assert network.plan.peak <= network.whole


@pytest.mark.parametrize(
    ("net", "shape", "bytes_at_most"),
    [(DSCNN, (1, 49, 10), 5_500), (MobileNetV1, (3, 96, 96), 37_728), (ResNet8, (3, 32, 32), 21_000)],
)
def test_networks_of_a_benchmark_come_near_to_the_least(
    net: type[nn.Module], shape: tuple[int, ...], bytes_at_most: int
) -> None:
    network = c_network(graph_of(net(), *shape), optimize="ram")
    assert disjoint(network) == []
    assert network.plan.peak <= bytes_at_most
    # What kernels work in is part of what can't be done without here.
    assert network.plan.peak <= 1.05 * lower_bound(network.placement.lifetimes.buffers)
