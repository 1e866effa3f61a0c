"""Networks drawn at random, exported to C and run on emulated processors: no output but the integer reference's, ever.

Several networks share a program, because starting an emulator takes longer than they do: the first byte of an input
says whose it is. On each machine 17 are run, 34 with ``-m sweep``, or as many as ``QTORCH_MACHINE_NETWORKS`` says; a
failing one is shrunk and printed as code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, count
from typing import Any

import numpy as np
import pytest

from export.c import kernels as c_kernels
from export.c.network import CNetwork, c_network
from export.c.source import c_source
from export.graph.interpret import interpret
from export.graph.ir import Graph
from firmware.emulation import MACHINES, DidNotBuild, EmulationFailure, Machine, Options, available, replay
from qtorch.errors import UnsupportedLayer
from tests.random_drawing import FURTHER, draw
from tests.random_networks import Program, shrink
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

#: Bytes of RAM and of constants that the networks of one program may take, where the machine is small.
ROOM = {"atmega328p": (900, 5_000), "cortex_m0": (8_000, 100_000)}
AMPLE = (100_000, 200_000)

#: What the linker or the replay says of a program that is larger than the machine.
TOO_LARGE = ("is not within region", "will not fit in region", "overflowed by", "overwrites data")


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
    """A drawn network, its kernels, its files, and the bytes that it takes of RAM and, constants alone, of flash."""

    drawn: Drawn
    network: CNetwork
    files: Mapping[str, str]
    room: tuple[int, int]


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
    source = c_source(name, network)
    # The rig holds an input, an expected output and an output of the largest network.
    ends = found.codes.shape[1] + 2 * found.expected.shape[1]
    return Made(found, network, source.files, (source.scratch_bytes + ends, sum(source.constant_bytes.values())))


def batches(programs: Iterator[Program], machine: Machine, speed: bool) -> Iterator[list[Made]]:
    """Networks for one program each time, in the order of ``programs``, without those that can't fit the machine."""
    most = ROOM.get(machine.name, AMPLE)
    batch: list[Made] = []
    used = (0, 0)
    for program in programs:
        one = made(program, f"net_{len(batch)}", machine, speed)
        if one is None or any(a > b for a, b in zip(one.room, most, strict=True)):
            continue
        total = (used[0] + one.room[0], used[1] + one.room[1])
        if batch and (len(batch) == 17 or any(a > b for a, b in zip(total, most, strict=True))):
            yield batch
            one = made(program, "net_0", machine, speed)
            assert one is not None
            batch, total = [], one.room
        batch.append(one)
        used = total


def together(batch: Sequence[Made]) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """A model of all of them, with inputs and outputs: whose they are, then their codes, then zeros."""
    names = [next(file for file in one.files if file.endswith("_model.h"))[: -len("_model.h")] for one in batch]
    sizes = [max(getattr(one.drawn, side).shape[1] for one in batch) for side in ("codes", "expected")]
    header = (
        f"#include <stdint.h>\n#define ALL_INPUT_SIZE {1 + sizes[0]}\n#define ALL_OUTPUT_SIZE {sizes[1]}\n"
        "void all_invoke(const int8_t *in, int8_t *out);\n"
    )
    includes = "".join(f'#include "{name}_model.h"\n' for name in ("all", *names))
    cases = "".join(f"    case {i}: {name}_invoke(in + 1, out); break;\n" for i, name in enumerate(names))
    body = (
        f"void all_invoke(const int8_t *in, int8_t *out) {{\n  for (int i = 0; i < {sizes[1]}; ++i) out[i] = 0;\n"
        f"  switch (in[0]) {{\n{cases}    default: break;\n  }}\n}}\n"
    )
    files = {file: text for one in batch for file, text in one.files.items()}
    rows = [np.pad(one.drawn.codes, ((0, 0), (0, sizes[0] - one.drawn.codes.shape[1]))) for one in batch]
    inputs = np.concatenate([np.pad(r, ((0, 0), (1, 0)), constant_values=i) for i, r in enumerate(rows)])
    expected = np.concatenate(
        [np.pad(one.drawn.expected, ((0, 0), (0, sizes[1] - one.drawn.expected.shape[1]))) for one in batch]
    )
    return {**files, "all_model.h": header, "all.c": includes + body}, inputs, expected


def outcomes(batch: Sequence[Made], machine: Machine) -> list[str]:
    """Of each network: ``"exact"``, ``"too large"``, or where machine and reference part."""
    files, inputs, expected = together(batch)
    optimize = ("-Os",) if machine.kind == "simavr" else ("-O2",)
    try:
        found = replay(machine, files, "all", inputs, expected, Options(optimize, seconds=300))
    except EmulationFailure as failure:
        if len(batch) > 1:  # the half that is to blame
            middle = len(batch) // 2
            return outcomes(batch[:middle], machine) + outcomes(batch[middle:], machine)
        too_large = isinstance(failure, DidNotBuild) and any(words in str(failure) for words in TOO_LARGE)
        return ["too large" if too_large else str(failure)]
    parts = np.split(np.arange(len(inputs)), np.cumsum([len(one.drawn.codes) for one in batch])[:-1])
    return [_verdict(found.outputs[part], expected[part], machine.name) for part in parts]


def _verdict(outputs: np.ndarray, expected: np.ndarray, machine: str) -> str:
    wrong = np.argwhere(outputs != expected)
    if not len(wrong):
        return "exact"
    sample, at = map(int, wrong[0])
    return f"output {at} of sample {sample}: {machine} {outputs[sample, at]}, reference {expected[sample, at]}"


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
