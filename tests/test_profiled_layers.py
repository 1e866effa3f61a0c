"""What layers take within the whole program: by layer, in all, and on the page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.commands.profile import profile_page
from export.console.page import plain_text
from export.cost.layers import graph_layer
from export.cost.machines import MachineProfile, on_machine
from export.cost.profile import Profile
from firmware.emulation import MACHINES, available
from firmware.emulation.steps import step_lines
from tests.test_profile import graph_of


class Residual(nn.Module):
    """A layer of two inputs, copies that are moved away, and one that moves codes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4 * 5 * 6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        return self.last(torch.relu(x + self.second(x)).transpose(1, 2).flatten(1))


@pytest.mark.parametrize("optimize", ["size", "speed", "ram"])
@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.qemu) for name in ("cortex_m0", "cortex_m4", "riscv32")),
        pytest.param("atmega328p", marks=pytest.mark.avr),
    ],
)
def test_layers_add_up_to_the_whole(name: str, optimize: Optimize) -> None:
    """The oracle is the program without marks, counted by the machine's own counter."""
    if why := available(MACHINES[name]):
        pytest.skip(why)
    torch.manual_seed(0)  # some sums of two tensors have no short form, which is six times as fast on AVR
    graph = graph_of(Residual(), 2, 5, 6)
    found = on_machine(graph, MACHINES[name], 2, optimize, by_layer=True)
    assert found.absent == ""
    assert sum(found.layers.values()) == pytest.approx(found.median, rel=0.002)  # a mean and a median
    assert set(found.layers) == {-1, *range(len(graph.nodes))}
    by_op: dict[str, float] = {}
    for i, node in enumerate(graph.nodes):
        by_op[node.op] = by_op.get(node.op, 0) + found.layers[i]
    assert by_op["conv_2d"] > by_op["add"] > 120  # elements
    assert by_op.get("reshape", 0) == 0  # nothing moves
    assert found.layers[-1] < 0.1 * found.median
    assert found.median == on_machine(graph, MACHINES[name], 2, optimize).median
    if found.unit == "instructions":
        assert sum(found.layer_cycles.values()) == pytest.approx(found.cycles[0].least, rel=0.02)


def test_the_page_adds_layers_up_and_says_what_is_unknown() -> None:
    graph = graph_of(nn.Linear(4, 3), 4)
    counted = MachineProfile("m", "cortex-m4", "instructions", median=100, layers={-1: 10.0, 0: 90.0})
    layers = (graph_layer(graph, 0, graph.nodes[0], {"m": 90.0}),)
    page = plain_text(profile_page(Profile(10, None, "none", layers, (counted,), ())))
    assert re.search(r"fully_connected .* 90\n", page)
    assert re.search(r"copies of outputs and states +10\n", page)
    assert re.search(r"all .* 100\n", page)
    unknown = replace(counted, machine="n", layers={}, uncounted="no gcc")
    page = plain_text(profile_page(Profile(10, None, "none", layers, (counted, unknown), ())))
    assert "layers on n: unknown: no gcc" in page
    assert "cycles of m, n: unknown: no gcc" in page or "cycles of n: unknown: no gcc" in page


@pytest.mark.parametrize("parts", [(0.5, 0.5, 0.5), (1.5, 2.5, 7.0), (10.4, 20.4, 30.4), (0.6, 0.6, 0.6)])
def test_means_that_are_no_whole_numbers_add_up_on_the_page(parts: tuple[float, float, float]) -> None:
    graph = graph_of(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), 4)
    counted = MachineProfile("m", "cortex-m4", "cycles", median=100, layers=dict(zip((-1, 0, 1), parts, strict=True)))
    layers = tuple(graph_layer(graph, i, node, {"m": parts[i + 1]}) for i, node in enumerate(graph.nodes))
    page = plain_text(profile_page(Profile(10, None, "none", layers, (counted,), ())))
    *rows, total = (int(count) for count in re.findall(r"^.*(?:fully_connected|copies of|all).* (\d+)$", page, re.M))
    assert len(rows) == 3
    assert sum(rows) == total == round(sum(parts))


@pytest.mark.parametrize("optimize", ["size", "ram"])
def test_marks_are_comments_and_nothing_else(optimize: Optimize) -> None:
    network = c_network(graph_of(Residual(), 2, 5, 6), "cortex-m4", optimize)
    plain, marked = (c_source("net", network, marked=each).files["net_model.c"] for each in (False, True))
    assert plain != marked
    lines = (line for line in re.sub(r"/\* (?:step \d+|no step) \*/ ?", "", marked).splitlines())
    assert [line for line in lines if line.strip()] == [line for line in plain.splitlines() if line.strip()]
    assert set(step_lines(marked).values()) == {step.index for step in network.steps}
