"""Memory plans put to the proof on emulated processors, with their own kernels, which no other machine runs.

Before each operator and row every byte that is free gets a canary, and behind it no byte may be another one than before
but those that it makes: see :mod:`export.c.canaries`. A program in which one is, gives another output than is right.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest

from benchmarks.plans import recipe_networks
from export.c.canaries import watch_of
from export.c.network import CNetwork, RowLoop, c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph
from firmware.emulation import Machine
from recipes.mlperf_tiny import DSCNN, MobileNetV1, ResNet8
from tests.shared_programs import Part, batches, outcomes, part_of
from tests.test_profile import graph_of
from tests.test_random_networks import a_dozen
from tests.test_row_by_row import gives_away
from tests.test_rows_on_machines import by_rows, here
from tests.test_rows_that_grow import Attention

pytestmark = [
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.qemu,
]

COUNT = int(os.environ.get("QTORCH_CANARY_NETWORKS", "5"))
MACHINES = ("cortex_m4", "riscv32")
_SAMPLES = 3

NETWORKS: dict[str, Any] = {
    "attention": partial(graph_of, Attention(), 46, 12),
    "DS-CNN": lambda: graph_of(DSCNN(), 1, 49, 10),
    "ResNet-8": lambda: graph_of(ResNet8(), 3, 32, 32),
    "MobileNetV1 0.25": lambda: graph_of(MobileNetV1(), 3, 96, 96),
}


def watched(name: str, network: CNetwork, inputs: tuple[np.ndarray, ...]) -> Part:
    """The network in a program that spoils an output where an operator writes beside its own.

    Or where something else is made with other canaries: each sample runs twice, but those of a network with states.
    """
    computed = interpret_sequence(network.graph, inputs)
    part = part_of(name, (network, inputs, [computed[output] for output in network.graph.outputs]))
    files = c_source(name, network, watch=watch_of(name, network)).files
    declared = f"int32_t {name}_watched(uint8_t canary), {name}_differs(void)"
    spoils = (
        f"{{ {declared}; int wrong = {name}_watched(0xA5) >= 0; {name}_invoke({part.arguments}); "
        f"wrong |= {name}_differs() >= 0; if ({name}_watched(0x5A) >= 0 || wrong) *out ^= 1; }}"
    ) if not network.graph.states else (
        f"{{ static int turn; {declared}; if ({name}_watched(++turn & 1 ? 0xA5 : 0x5A) >= 0) *out ^= 1; }}"
    )  # fmt: skip
    ram, constants = part.room
    # A copy and a mark of each byte, two sums of each step; numbers of the tables are six characters and four bytes.
    sums = 8 * (network.placement.lifetimes.ends[-1] + 1)
    room = (ram + 2 * network.plan.peak + sums, constants + sum(map(len, files.values())))
    return replace(part, files=files, behind=spoils, room=room)


def drawn(graph: Graph) -> tuple[np.ndarray, ...]:
    """Samples: of a network with states, one after the other."""
    return tuple(
        array[: _SAMPLES * graph.values[n].rows] for n, array in zip(graph.inputs, a_dozen(graph), strict=True)
    )


def verdicts(parts: list[Part], machine: Machine) -> list[str]:
    return [said for few in batches(parts, machine.name, lambda part: part.room) for said in outcomes(few, machine)]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "name", [*(pytest.param(n, marks=pytest.mark.sweep) for n in NETWORKS if n != "attention"), "attention"]
)
def test_plans_of_known_networks_are_sound_on_a_machine(name: str, machine: str) -> None:
    graph = NETWORKS[name]()
    builds: tuple[Optimize, ...] = ("ram", "size")
    networks = [c_network(graph, here(machine).cpu, optimize) for optimize in builds]
    assert any(isinstance(item, RowLoop) for item in networks[0].run)
    parts = [watched(f"net_{i}", each, drawn(graph)) for i, each in enumerate(networks)]
    assert verdicts(parts, here(machine)) == ["exact"] * len(parts)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("optimize", ["ram", "balanced"])
def test_plans_of_recipes_are_sound_on_a_machine(optimize: Optimize, machine: str) -> None:
    networks = [c_network(graph, here(machine).cpu, optimize) for _, graph in recipe_networks()]
    parts = [watched(f"net_{i}", network, drawn(network.graph)) for i, network in enumerate(networks)]
    assert verdicts(parts, here(machine)) == ["exact"] * len(parts)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("wanted", [COUNT, pytest.param(10 * COUNT, marks=pytest.mark.sweep)])
def test_plans_of_random_networks_are_sound_on_a_machine(wanted: int, machine: str) -> None:
    batch = list(islice(by_rows(here(machine), wanted), wanted))
    parts = [watched(f"net_{i}", one.network, drawn(one.drawn.graph)) for i, one in enumerate(batch)]
    for one, said in zip(batch, verdicts(parts, here(machine)), strict=True):
        assert said == "exact", f"seed {one.drawn.program.seed}\n{one.drawn.program.code()}"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "early"), [("attention", 12), ("DS-CNN", 10), ("DS-CNN", 20)])
def test_rows_that_are_given_away_too_early_are_found_on_a_machine(name: str, early: int, machine: str) -> None:
    """Whether they reach an output or not: of DS-CNN with random weights they do not."""
    network = c_network(NETWORKS[name](), here(machine).cpu, "ram")
    part = watched("net_0", gives_away(network, network.graph.inputs[0], early), drawn(network.graph))
    assert verdicts([part], here(machine)) != ["exact"]


def test_a_kernel_that_writes_a_byte_too_many_is_found_on_a_machine() -> None:
    graph = NETWORKS["attention"]()
    parts = [watched("net_0", c_network(graph, "cortex-m4", "ram"), drawn(graph))]
    right = parts[0].files["net_0_model.c"]
    beside = right.replace("watched_behind(0", "((int8_t *)scratch)[sizeof scratch - 1] ^= 1, watched_behind(0", 1)
    assert right != beside
    parts.append(replace(parts[0], files={**parts[0].files, "net_0_model.c": beside}))
    assert [verdicts([part], here("cortex_m4"))[0] == "exact" for part in parts] == [True, False]
