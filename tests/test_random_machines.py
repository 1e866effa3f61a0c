"""Networks drawn at random, exported to C and run on emulated processors: no output but the integer reference's, ever.

Several networks share a program, because starting an emulator takes longer than they do: the first byte of an input
says whose it is. On each machine 17 are run, 34 with ``-m sweep``, or as many as ``QTORCH_MACHINE_NETWORKS`` says; a
failing one is shrunk and printed as code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, count
from typing import Any

import numpy as np
import pytest

from export.c import kernels as c_kernels
from export.c.network import CNetwork, c_network
from export.graph.interpret import interpret
from export.graph.ir import Graph
from firmware.emulation import MACHINES, Machine, available
from qtorch.errors import UnsupportedLayer
from tests import shared_programs
from tests.random_drawing import FURTHER, draw
from tests.random_networks import Program, shrink
from tests.shared_programs import AMPLE, ROOM, Part, part_of
from tests.test_random_c import integers
from tests.test_random_networks import a_dozen

pytestmark = [
    # Some write behind dropout, which is another tensor in training.
    pytest.mark.filterwarnings("ignore:prepare. in training the network computes something else"),
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:layers.* has no effect"),
]

COUNT = int(os.environ.get("QTORCH_MACHINE_NETWORKS", "17"))

#: Machine and ``speed``.
BUILDS = {
    f"{name}, {'speed' if speed else 'size'}": (MACHINES[name], speed)
    for name, speed in (
        ("cortex_m3", False),
        ("cortex_m3", True),
        ("atmega328p", False),
        ("atmega328p", True),
        ("cortex_m4", True),
        ("cortex_m55", True),
        ("cortex_m0", True),
        ("riscv32", True),
        ("lx106", True),
    )
}

#: Of their kernels and of their instructions others are always run.
WITH_SWEEPS = ("cortex_m3, size", "cortex_m4, speed")


def marked(build: str) -> Any:
    """With what it takes, and when."""
    emulator = pytest.mark.avr if "atmega" in build else pytest.mark.qemu
    return pytest.param(build, marks=[emulator, pytest.mark.sweep] if build in WITH_SWEEPS else [emulator])


@dataclass(frozen=True)
class Drawn:
    """A program, its graph with one int8 input and one int8 output, codes ``[12, I]`` and what is right ``[12, O]``."""

    program: Program
    graph: Graph
    codes: np.ndarray
    expected: np.ndarray


@dataclass(frozen=True)
class Made:
    """A drawn network, its kernels, and what it is in a program of several."""

    drawn: Drawn
    network: CNetwork
    part: Part


@cache
def drawn(program: Program) -> Drawn | None:
    """``None`` where it is refused, or has other inputs and outputs."""
    if (len(program.inputs), len(program.outputs)) != (1, 1):
        return None
    graph = integers(program)
    if isinstance(graph, str) or {graph.values[n].array_dtype for n in (*graph.inputs, *graph.outputs)} != {"int8"}:
        return None
    codes = a_dozen(graph)
    try:
        expected = interpret(graph, codes)[graph.outputs[0]]
    except OverflowError:
        return None
    flat = (np.ascontiguousarray(a.reshape(len(a), -1), np.int8) for a in (codes[0], expected))
    return Drawn(program, graph, *flat)


def made(program: Program, name: str, machine: Machine, speed: bool) -> Made | None:
    """``None`` also where an op has no kernel."""
    found = drawn(program)
    if found is None:
        return None
    try:
        network = c_network(found.graph, machine.cpu, "speed" if speed else "size")
    except UnsupportedLayer:
        return None
    return Made(found, network, part_of(name, (network, (found.codes,), (found.expected,))))


def batches(programs: Iterator[Program], machine: Machine, speed: bool) -> Iterator[list[Made]]:
    """Networks for one program each time, in the order of ``programs``, without those that can't fit the machine."""
    most = ROOM.get(machine.name, AMPLE)
    found = (made(program, f"net_{index}", machine, speed) for index, program in enumerate(programs))
    fitting = (one for one in found if one and all(a <= b for a, b in zip(one.part.room, most, strict=True)))
    return shared_programs.batches(fitting, machine.name, lambda one: one.part.room, 17)


def outcomes(batch: Sequence[Made], machine: Machine) -> list[str]:
    """Of each network: ``"exact"``, ``"too large"``, or where machine and reference part."""
    return shared_programs.outcomes([one.part for one in batch], machine)


def outcome(program: Program, machine: Machine, speed: bool) -> str:
    """Of one program by itself; ``"refused"`` where it is none for these machines."""
    one = made(program, "net_0", machine, speed)
    return "refused" if one is None else outcomes([one], machine)[0]


def run(programs: Iterator[Program], machine: Machine, speed: bool, wanted: int) -> tuple[set[str], Program | None]:
    """Kernels of the first ``wanted`` networks that the machine holds, and the first program that it gets wrong."""
    kernels: set[str] = set()
    exact = 0
    for batch in batches(programs, machine, speed):
        for one, result in zip(batch, outcomes(batch, machine), strict=True):
            if result not in ("exact", "too large"):
                return kernels, one.drawn.program
            if result == "exact":
                exact += 1
                kernels |= {step.call.kernel for step in one.network.steps}
        if exact >= wanted:
            break
    return kernels, None


def shrunk(program: Program, machine: Machine, speed: bool) -> str:
    """What a failing program comes down to, as a message."""
    small = shrink(program, lambda p: outcome(p, machine, speed) not in ("exact", "too large", "refused"))
    return f"seed {program.seed}: {outcome(small, machine, speed)}\ninputs {small.inputs}\n{small.code()}"


@pytest.mark.parametrize("build", list(map(marked, BUILDS)))
@pytest.mark.parametrize("wanted", [COUNT, pytest.param(2 * COUNT, marks=pytest.mark.sweep)])
def test_random_networks_are_exact_on_a_machine(build: str, wanted: int) -> None:
    machine, speed = BUILDS[build]
    absent = available(machine)
    if absent:
        pytest.skip(absent)
    # Some with windows that are no squares before the others.
    programs = map(draw, chain(range(FURTHER, FURTHER + 12), count()))
    kernels, wrong = run(programs, machine, speed, wanted)
    if wrong is not None:
        pytest.fail(shrunk(wrong, machine, speed))
    # The kernels that are made for a processor are among those that ran.
    own = {"atmega328p": "_avr", "cortex_m3": "_pairs_s8", "cortex_m4": "_pairs_s8", "cortex_m55": "_mve_s8"}
    if speed or machine.cpu == "avr":
        assert any(kernel.endswith(own.get(machine.name, "")) for kernel in kernels), kernels


@pytest.mark.avr
def test_a_wrong_kernel_is_found_and_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the fourth of several outputs that AVR sums together is taken for the third."""
    machine = MACHINES["atmega328p"]
    absent = available(machine)
    if absent:
        pytest.skip(absent)
    source = c_kernels._source

    def wrong(name: str) -> str:
        return source(name).replace("sums[3] = d;", "sums[3] = c;") if name == "panel_avr" else source(name)

    assert wrong("panel_avr") != source("panel_avr")
    monkeypatch.setattr(c_kernels, "_source", wrong)
    # The first program that shows it is among the next.
    _, found = run(map(draw, count(85)), machine, speed=False, wanted=2 * COUNT)
    assert found is not None
    said = shrunk(found, machine, speed=False)
    assert f": {machine.name} " in said
    assert "nn.Linear" in said or "nn.Conv" in said
