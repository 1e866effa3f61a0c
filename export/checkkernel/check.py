"""Cases through a machine, chunk after chunk: every call's memory and registers looked at, its instructions counted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from export.checkkernel.drawing import Case, Room
from export.checkkernel.forms import Forms, forms
from export.checkkernel.memory import difference, laid_out, memory_bytes, remains
from export.checkkernel.program import HEADER_BYTES, Job, constant_bytes, inputs_of, program
from firmware.emulation import MACHINES, Machine, Options
from firmware.emulation.build import TARGETS, compile_model
from firmware.emulation.replay import replay_model
from qtorch.row.kernel_call import NoKernel

__all__ = ["MACHINES_OF_TARGETS", "Finding", "Outcome", "Target", "checked", "findings", "targets"]


@dataclass(frozen=True)
class Target:
    """A machine as a place to check kernels on.

    Attributes:
        machine: that runs the programs.
        cpu: whose kernels are checked, as boards name it.
        memory: bytes that a call may have at most; a program has them three times.
        room: of a case.
        constants: bytes of them that a program may have.
        calls: that a program may make.
        registers: file under firmware/targets that looks at them.
        spoiled: what its bits mean.
    """

    machine: Machine
    cpu: str
    memory: int
    room: Room
    constants: int
    calls: int
    registers: str
    spoiled: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """A case in one of its forms.

    Attributes:
        case: which.
        form: name of the form.
        kernels: that it calls.
        fault: what it did wrong; empty if nothing.
        cost: instructions or cycles of its first run; ``None`` where nothing counts.
    """

    case: Case
    form: str
    kernels: tuple[str, ...]
    fault: str
    cost: int | None


@dataclass(frozen=True)
class Finding:
    """All calls of some kernels in one form: a line of the table.

    Attributes:
        kernels: names.
        form: name of the form.
        cases: how many.
        faults: of those that did something wrong.
        cost: of all of them; ``None`` where nothing counts.
        portable: of the portable form of the same cases.
    """

    kernels: tuple[str, ...]
    form: str
    cases: int
    faults: tuple[Outcome, ...]
    cost: int | None
    portable: int | None


_ARM = (
    *(f"r{number}" for number in range(4, 12)), "sp", *(f"s{number}" for number in range(16, 32)), "modes of FPSCR",
    "masks of VPR",
)  # fmt: skip
_RISCV = (*(f"s{number}" for number in range(12)), "sp", "gp", "tp")
_AVR = (
    *(f"r{number}" for number in range(2, 18)),
    "r28",
    "r29",
    "r1 (zero)",
    "the stack pointer",
    "the interrupt flag",
)
_XTENSA = ("a12", "a13", "a14", "a15", "a1")
_X86 = ("rbx", "rbp", "r12", "r13", "r14", "r15", "the direction flag", "modes of MXCSR")

#: What targets are called, and the machines of theirs.
MACHINES_OF_TARGETS = {
    "host": "host",
    "host-sanitized": "host_sanitized",
    "cortex-m0": "cortex_m0",
    "cortex-m3": "cortex_m3",
    "cortex-m4": "cortex_m4",
    "cortex-m7": "cortex_m7",
    "cortex-m33": "cortex_m33",
    "cortex-m55": "cortex_m55",
    "rv32": "riscv32",
    "xtensa": "lx106",
    "avr": "atmega328p",
}


def targets() -> dict[str, Target]:
    """Every target by its name."""
    return {name: _target(MACHINES[machine]) for name, machine in MACHINES_OF_TARGETS.items()}


def _target(machine: Machine) -> Target:
    large = Room(16_000, 60_000)
    if machine.kind == "simavr":
        # More memory than an ATmega328P has, and the same instructions with the same cycles.
        roomy = replace(
            machine,
            flags=tuple(flag.replace(machine.emulator[0], "atmega1284p") for flag in machine.flags),
            emulator=("atmega1284p", *machine.emulator[1:]),
            ram=16 * 1024,
        )
        return Target(roomy, machine.cpu, 4600, Room(3000, 9000), 40_000, 40, "avr/registers.c", _AVR)
    if machine.kind == "host":
        return Target(machine, "host", 64_000, large, 1_000_000, 400, "host/registers.c", _X86)
    if machine.name.startswith("cortex"):
        if machine.name == "cortex_m0":
            return Target(machine, machine.cpu, 4600, Room(3000, 40_000), 120_000, 60, "cortex_m/registers.c", _ARM)
        return Target(machine, machine.cpu, 64_000, large, 300_000, 100, "cortex_m/registers.c", _ARM)
    if machine.name == "lx106":
        return Target(machine, machine.cpu, 64_000, large, 1_000_000, 100, "xtensa/registers.c", _XTENSA)
    return Target(machine, machine.cpu, 64_000, large, 1_000_000, 100, "riscv/registers.c", _RISCV)


def checked(
    cases: Sequence[Case], target: Target, of: Forms = forms, options: Options | None = None, kernel: str = ""
) -> list[Outcome]:
    """Every case in all of its forms on a target.

    Args:
        cases: that fit the target's room.
        target: a machine.
        of: which forms there are.
        options: how they are built; ``-O2`` without.
        kernel: only cases in which a kernel of this name is called.

    Raises:
        EmulationFailure: a program does not build, or does not end as programs do.
    """
    jobs = list[Job]()
    for case in cases:
        try:
            found = of(case.graph, target.cpu)
        except NoKernel:
            continue
        if kernel and not any(kernel in form.kernels for form in found.values()):
            continue
        jobs += [Job(case, name, form, laid_out(case, form)) for name, form in found.items()]
    fitting = [job for job in jobs if memory_bytes(job.regions) <= target.memory]
    outcomes = list[Outcome]()
    for chunk in _chunks(fitting, target):
        outcomes += _run(chunk, target, options or Options(seconds=300))
    return outcomes


def _chunks(jobs: Sequence[Job], target: Target) -> Iterator[list[Job]]:
    """As many as a program holds, the forms of a case together where that goes."""
    chunk, constants = list[Job](), 0
    for job in jobs:
        size = constant_bytes(job.form)
        if chunk and (len(chunk) == target.calls or constants + size > target.constants):
            yield chunk
            chunk, constants = [], 0
        chunk.append(job)
        constants += size
    if chunk:
        yield chunk


def _run(jobs: Sequence[Job], target: Target, options: Options) -> list[Outcome]:
    memory = max(memory_bytes(job.regions) for job in jobs)
    sources = program(jobs, memory)
    sources |= {
        "registers.h": (TARGETS / "registers.h").read_text(),
        "registers.c": (TARGETS / target.registers).read_text(),
    }
    wanted = [list(remains(job.case, job.regions, memory)) for job in jobs]
    blank = np.zeros(memory, np.uint8)
    inputs = [
        inputs_of(0, blank),
        *(inputs_of(call + 1, run.before) for call, runs in enumerate(wanted) for run in runs),
    ]
    nothing = np.zeros(HEADER_BYTES, np.uint8)
    expected = [
        np.concatenate([nothing, memory]).view(np.int8)
        for memory in (blank, *(run.after for runs in wanted for run in runs))
    ]
    with tempfile.TemporaryDirectory(prefix="checkkernel-") as folder:
        model = compile_model(target.machine, sources, "check", Path(folder), options)
        found = replay_model(target.machine, model, np.stack(inputs), np.stack(expected), options)
    outcomes, sample = list[Outcome](), 1
    for job, runs in zip(jobs, wanted, strict=True):
        faults = list[str]()
        cost = None if found.costs is None else int(found.costs[sample] - found.costs[0])
        for run in runs:
            got = found.outputs[sample].view(np.uint8)
            spoiled = int(got[:4].view("<u4")[0])
            if spoiled:
                faults.append(f"spoiled {_names(spoiled, target.spoiled)}")
            faults += filter(None, [difference(job.case, job.regions, run, got[HEADER_BYTES:])])
            sample += 1
        outcomes.append(Outcome(job.case, job.name, job.form.kernels, "; ".join(dict.fromkeys(faults)), cost))
    return outcomes


def _names(bits: int, names: Sequence[str]) -> str:
    return ", ".join(name for bit, name in enumerate(names) if bits >> bit & 1)


def findings(outcomes: Sequence[Outcome]) -> list[Finding]:
    """Outcomes by kernels and form, with what the portable form of the same cases costs."""
    portable = {outcome.case.number: outcome.cost for outcome in outcomes if outcome.form == "portable"}
    groups: dict[tuple[tuple[str, ...], str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.kernels, outcome.form), []).append(outcome)
    return [
        Finding(
            kernels,
            form,
            len(group),
            tuple(outcome for outcome in group if outcome.fault),
            _sum([outcome.cost for outcome in group]),
            _sum([portable.get(outcome.case.number) for outcome in group]),
        )
        for (kernels, form), group in sorted(groups.items())
    ]


def _sum(costs: Sequence[int | None]) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
