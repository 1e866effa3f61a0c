"""Networks computed row by row on emulated processors: every output is the integer reference's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, count, islice

import pytest

from export.c.network import RowLoop, c_network
from export.cost.machines import replayed
from firmware.emulation import MACHINES, Machine, available
from qtorch.errors import UnsupportedLayer
from recipes.mlperf_tiny import DSCNN
from tests.random_drawing import FURTHER, draw
from tests.shared_programs import AMPLE, ROOM, part_of
from tests.test_profile import graph_of
from tests.test_random_machines import Made, drawn, outcomes
from tests.test_rows_that_grow import Attention

pytestmark = [
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
    pytest.mark.usefixtures("one_thread"),
]

COUNT = int(os.environ.get("QTORCH_ROW_MACHINE_NETWORKS", "6"))

#: Seeds of networks that are computed row by row, tried first: to look for them takes ten times as long as to run them.
BY_ROWS = tuple(FURTHER + each for each in (18, 39, 49, 51, 60, 69, 75))

_QEMU = [pytest.param(name, marks=pytest.mark.qemu) for name in ("cortex_m4", "cortex_m0", "riscv32")]


def here(name: str) -> Machine:
    """The machine, or a skip that says what is absent."""
    if absent := available(MACHINES[name]):
        pytest.skip(absent)
    return MACHINES[name]


def by_rows(machine: Machine, together: int) -> Iterator[Made]:
    """Networks drawn at random that are computed row by row, so many of which fit the machine together."""
    most, found = ROOM.get(machine.name, AMPLE), 0
    for seed in chain(BY_ROWS, (seed for seed in count(FURTHER) if seed not in BY_ROWS)):
        one = drawn(draw(seed))
        if one is None:
            continue
        try:
            network = c_network(one.graph, machine.cpu, "ram")
        except UnsupportedLayer:
            continue
        if not any(isinstance(item, RowLoop) for item in network.run):
            continue
        part = part_of(f"net_{found}", (network, (one.codes,), (one.expected,)))
        if all(each <= limit // together for each, limit in zip(part.room, most, strict=True)):
            found += 1
            yield Made(one, network, part)


@pytest.mark.parametrize("name", [*_QEMU, pytest.param("atmega328p", marks=pytest.mark.avr)])
def test_random_networks_are_exact_row_by_row_on_a_machine(name: str) -> None:
    machine = here(name)
    # The smallest has little room.
    wanted = COUNT if machine.cpu != "avr" else -(-COUNT // 2)
    batch = list(islice(by_rows(machine, wanted), wanted))
    assert all(one.network.plan.peak < one.network.whole for one in batch)
    for one, outcome in zip(batch, outcomes(batch, machine), strict=True):
        assert outcome == "exact", f"seed {one.drawn.program.seed}\n{one.drawn.program.code()}"


@pytest.mark.parametrize("name", _QEMU)
def test_keyword_spotting_is_exact_row_by_row_on_a_machine(name: str) -> None:
    """A third of the memory at hardly more instructions; and on the smallest of these, whole tensors do not fit."""
    machine, graph = here(name), graph_of(DSCNN(), 1, 49, 10)
    assert c_network(graph, machine.cpu, "ram").plan.peak < 0.4 * c_network(graph, machine.cpu).plan.peak
    # Every output is compared there.
    rows = replayed(graph, machine, 1, "ram")
    whole = replayed(graph, machine, 1, "size")
    if machine.name == "cortex_m0":
        assert rows.ram < 16 * 1024 < whole.ram
    assert rows.ram < whole.ram
    assert rows.median < 1.15 * whole.median


@pytest.mark.parametrize("name", [*_QEMU, pytest.param("cortex_m55", marks=pytest.mark.qemu)])
@pytest.mark.parametrize(
    "steps", [32, pytest.param(50, marks=pytest.mark.sweep), pytest.param(128, marks=pytest.mark.sweep)]
)
def test_attention_takes_few_more_instructions_row_by_row(name: str, steps: int) -> None:
    """Some rows at a time share what is made of the other matrix's columns; a single one would take up to 1.8 times."""
    machine, graph = here(name), graph_of(Attention(), steps, 12)
    assert c_network(graph, machine.cpu, "ram").plan.peak < 0.9 * c_network(graph, machine.cpu).plan.peak
    assert replayed(graph, machine, 1, "ram").median < 1.15 * replayed(graph, machine, 1, "size").median
