"""A model's samples replayed on a machine: every output code compared, every inference counted."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firmware.emulation.build import Footprint, Model, Options, compile_model, link, runner, weigh
from firmware.emulation.counter import (
    Executed,
    counted_segments,
    counter_absent,
    counting_command,
    step_cycles,
    write_marks,
    write_step_marks,
)
from firmware.emulation.disassembly import disassembled, steps_by_address
from firmware.emulation.failure import DidNotBuild, DidNotEnd, EmulationFailure
from firmware.emulation.machines import Machine
from firmware.emulation.steps import has_steps
from firmware.emulation.timing import Cycles, cycles
from firmware.emulation.timings import timings_of

__all__ = [
    "Cost",
    "Counted",
    "Mismatch",
    "Replay",
    "check_samples",
    "footprints",
    "replay",
    "replay_model",
    "run_program",
]

#: Exit codes of the rigs and of the AVR runner (firmware/targets/rig.h and avr/runner.c).
_AGREES, _DIFFERS, _CYCLE_LIMIT = 0, 65, 71
_ENDS = {
    66: "samples that can't be read, or results that can't be written",
    67: "a trap of the processor",
    68: "a stack that reached what lies below it",
    70: "a program that is not what the runner expects",
    72: "a processor that stopped",
}


@dataclass(frozen=True)
class Cost:
    """Instructions or cycles that ``<name>_invoke`` takes more than a function that does nothing, over all samples."""

    unit: str
    min: int
    median: float
    max: int


@dataclass(frozen=True)
class Counted:
    """What ``<name>_invoke`` executes more than a function that does nothing, per call, over all samples.

    Attributes:
        count: mean, in the machine's unit.
        cycles: mean of what a processor takes for them, without waiting for memory: of each processor that executes
            them, first the one that the machine stands for; empty if none is known.
        steps: both, by the number of the step (:mod:`firmware.emulation.steps`), with what it calls; -1 is what is of
            none. Empty where the sources mark none. They add up to the whole.
    """

    count: float
    cycles: tuple[Cycles, ...]
    steps: Mapping[int, Counted]


@dataclass(frozen=True)
class Mismatch:
    """The first output code that is not the expected one."""

    sample: int
    output: int
    expected: int
    got: int


@dataclass(frozen=True)
class Replay:
    """What a machine made of the samples.

    Attributes:
        machine: its name.
        samples: how many.
        mismatches: samples of which at least one output code is wrong.
        first: the first wrong code.
        outputs: int8 ``[N, O]``, what the machine computed.
        cost: ``None`` where nothing counts.
        costs: int64 ``[N]``, of which ``cost`` is the summary.
        overhead: units of the function that does nothing, with its call and the marks; subtracted from ``cost``.
        stack: bytes below the caller's frame that a call takes; ``None`` where nothing measures it. In simavr the
            deepest of all samples; elsewhere of the first sample, by what it wrote.
        model: bytes of the model's own object files, without what it takes from the compiler's library.
        firmware: bytes of the smallest program that holds the model, start-up code and vectors included; ``None`` on
            the host.
        counted: each instruction by its kind; ``None`` where that can't be told.
        uncounted: why it can't, with the remedy; empty where cycles or nothing are counted.
    """

    machine: str
    samples: int
    mismatches: int
    first: Mismatch | None
    outputs: np.ndarray
    cost: Cost | None
    overhead: int | None
    stack: int | None
    model: Footprint
    firmware: Footprint | None
    costs: np.ndarray | None = None
    counted: Counted | None = None
    uncounted: str = ""


def footprints(
    machine: Machine, sources: Mapping[str, bytes | str], name: str, options: Options | None = None
) -> tuple[Footprint, Footprint | None]:
    """``Replay.model`` and ``Replay.firmware`` without a replay.

    Raises:
        DidNotBuild: the sources do not compile, or the program does not fit.
    """
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        return _footprints(machine, compile_model(machine, sources, name, Path(folder), options or Options()))


def _footprints(machine: Machine, model: Model) -> tuple[Footprint, Footprint | None]:
    alone = weigh(machine, model.objects)
    if machine.kind == "host":
        return alone, None
    return alone, weigh(machine, (link(machine, model, (*machine.start, "smallest.c"), "smallest.elf"),))


def replay(
    machine: Machine,
    sources: Mapping[str, bytes | str],
    name: str,
    inputs: np.ndarray,
    expected: np.ndarray,
    options: Options | None = None,
) -> Replay:
    """Run ``<name>_invoke`` on every input and compare.

    Args:
        machine: one that :func:`~firmware.emulation.machines.available` finds nothing missing for.
        sources: text by file name: ``<name>_model.h``, which declares ``<name>_invoke`` and has the macros
            ``<NAME>_INPUT_SIZE`` and ``<NAME>_OUTPUT_SIZE``, and every source that it takes.
        name: a C identifier.
        inputs: int8 ``[N, I]``, N at least 1.
        expected: int8 ``[N, O]``.
        options: how to build, how long to run.

    Raises:
        ValueError: the arrays are not of that type and shape.
        DidNotBuild: the sources do not compile, or the program does not fit the machine.
        DidNotEnd: time or cycles ran out.
        EmulationFailure: the program ended in any other way than by saying whether all outputs agree.
    """
    check_samples(inputs, expected)
    options = options or Options()
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        model = compile_model(machine, sources, name, Path(folder), options)
        return replay_model(machine, model, inputs, expected, options)


def replay_model(machine: Machine, model: Model, inputs: np.ndarray, expected: np.ndarray, options: Options) -> Replay:
    """:func:`replay` of a model that is compiled already, with whatever gave its object files.

    Raises:
        ValueError, DidNotBuild, DidNotEnd, EmulationFailure: as :func:`replay`.
    """
    check_samples(inputs, expected)
    folder = model.folder
    alone, firmware = _footprints(machine, model)
    elf = link(machine, model, (*machine.start, *machine.rig), "replay.elf")
    (folder / "samples.bin").write_bytes(np.concatenate([inputs, expected], axis=1).tobytes())
    sizes = (str(inputs.shape[1]), str(expected.shape[1]))
    uncounted = counter_absent(machine) if machine.unit == "instructions" else ""
    by_kind = uncounted is None
    steps = _steps(machine, elf, folder) if by_kind or machine.kind == "simavr" else {}
    if by_kind:
        write_marks(machine, elf, folder, f"{model.name}_invoke", steps)
    elif steps:
        write_step_marks(folder, steps)
    code, output = run_program(machine, elf, folder, options, sizes, by_kind)
    if code not in (_AGREES, _DIFFERS):
        raise EmulationFailure(
            where=f"{machine.name}: {model.name}",
            expected=f"exit code {_AGREES} (outputs agree) or {_DIFFERS} (outputs differ)",
            got=f"{code}: {_ENDS[code]}" if code in _ENDS else str(code),
            output=output,
        )
    ticks, outputs, figures = _results(machine, folder / "results.bin", expected)
    mismatch = _compared(machine, model.name, expected, outputs, figures, code)
    costs, cost, overhead = _cost(machine, ticks, figures[2])
    stack = figures[3] if machine.kind != "host" else None
    if machine.ram is not None and stack is not None:
        _must_fit(machine, weigh(machine, (elf,)).ram, stack)
    mismatches = int(np.count_nonzero((outputs != expected).any(axis=1)))
    counted = _counted(machine, elf, folder, len(inputs)) if by_kind else None
    if steps and not by_kind:
        counted = _counted_steps(step_cycles(folder), figures[2], len(inputs))
    return Replay(
        *(machine.name, len(inputs), mismatches, mismatch, outputs, cost, overhead, stack, alone, firmware, costs),
        counted=counted,
        uncounted=uncounted or "",
    )


def check_samples(inputs: np.ndarray, expected: np.ndarray) -> None:
    """Refuse what is not int8 ``[N, I]`` and ``[N, O]`` with N at least 1.

    Raises:
        ValueError: says which, and its type and shape.
    """
    for side, codes in (("inputs", inputs), ("expected", expected)):
        if codes.dtype != np.int8 or codes.ndim != 2 or codes.size == 0 or len(codes) != len(inputs):
            shape = list(codes.shape)
            raise ValueError(f"replay.{side}: expected int8 [{len(inputs)}, >= 1], got {codes.dtype} {shape}")


def run_program(
    machine: Machine, elf: Path, folder: Path, options: Options, sizes: tuple[str, str], by_kind: bool = False
) -> tuple[int, str]:
    """Exit code and output of a replay program.

    Args:
        machine: that runs it.
        elf: the program.
        folder: where its samples are.
        options: how long it may run.
        sizes: of an input and an output.
        by_kind: also count each instruction, by the marks in the folder.

    Raises:
        DidNotEnd: time or cycles ran out.
    """
    if machine.kind == "simavr":
        command = [str(runner()), "replay", *machine.emulator, str(elf), str(options.cycles), *sizes]
    else:
        command = [*(counting_command(machine) if by_kind else machine.emulator), str(elf)]
    where = f"{machine.name}: {elf.name}"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=options.seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as late:
        raise DidNotEnd(where=where, expected="the program to end", got=f"none after {options.seconds:g} s") from late
    if machine.kind == "simavr" and done.returncode == _CYCLE_LIMIT:
        got = f"more than {options.cycles:,} cycles"
        raise DidNotEnd(where=where, expected="the inference to end", got=got, output=done.stderr)
    return done.returncode, done.stdout + done.stderr


def _results(machine: Machine, path: Path, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Ticks uint64 ``[N]``, output codes int8 ``[N, O]``, and the four figures of firmware/targets/replay.c."""
    row = np.dtype([("ticks", "<u8"), ("out", "i1", expected.shape[1:])])
    written = path.read_bytes()
    awaited = len(expected) * row.itemsize + 4 * 8
    if len(written) != awaited:
        raise EmulationFailure(
            where=f"{machine.name}: results.bin", expected=f"{awaited} bytes", got=f"{len(written)} bytes"
        )
    rows = np.frombuffer(written, row, len(expected))
    figures = np.frombuffer(written, "<u8", 4, len(expected) * row.itemsize)
    return rows["ticks"], rows["out"].copy(), tuple(int(figure) for figure in figures)


def _compared(
    machine: Machine, name: str, expected: np.ndarray, outputs: np.ndarray, figures: tuple[int, ...], code: int
) -> Mismatch | None:
    """The first wrong code; what the machine said of itself must agree with what it wrote."""
    wrong = outputs != expected
    mismatches = int(np.count_nonzero(wrong.any(axis=1)))
    verdict = _DIFFERS if mismatches else _AGREES
    if (figures[0], figures[1], code) != (len(expected), mismatches, verdict):
        raise EmulationFailure(
            where=f"{machine.name}: {name}",
            expected=f"{len(expected)} samples, {mismatches} of which differ, exit code {verdict}, as it wrote",
            got=f"{figures[0]} samples, {figures[1]} of which differ, exit code {code}, as it says",
        )
    if not mismatches:
        return None
    sample, output = (int(index) for index in np.argwhere(wrong)[0])
    return Mismatch(sample, output, int(expected[sample, output]), int(outputs[sample, output]))


def _cost(machine: Machine, ticks: np.ndarray, nothing: int) -> tuple[np.ndarray | None, Cost | None, int | None]:
    """Units from ticks; the counter's own turns, and the ticks of the function that does nothing, are subtracted."""
    if machine.unit is None:
        return None, None, None
    numerator, denominator = machine.ticks_per_unit.numerator, machine.ticks_per_unit.denominator
    more = ticks.astype(np.int64) - nothing
    units = (2 * more * denominator + numerator) // (2 * numerator)  # to the nearest whole number
    if machine.turn:
        units -= machine.turn_cost * (ticks.astype(np.int64) // machine.turn)
    cost = Cost(machine.unit, int(units.min()), float(np.median(units)), int(units.max()))
    return units, cost, round(nothing / machine.ticks_per_unit)


def _steps(machine: Machine, elf: Path, folder: Path) -> dict[int, int]:
    """Steps that the model's sources mark, by address."""
    sources = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.c")}
    marked = {name: text for name, text in sources.items() if has_steps(text)}
    return steps_by_address(machine, elf, marked, disassembled(machine, elf)) if marked else {}


def _counted(machine: Machine, elf: Path, folder: Path, samples: int) -> Counted:
    """Of all samples' calls, without what as many calls of the function that does nothing take."""
    nothing, whole, steps = counted_segments(machine, elf, folder)
    program = disassembled(machine, elf)
    timings = timings_of(machine.cpu)

    def counted(executed: Executed, calls: int, steps: Mapping[int, Counted]) -> Counted:
        less = nothing.times(calls)
        taken = tuple(cycles(executed, program, timing, less).per(samples) for timing in timings)
        return Counted((executed.instructions - less.instructions) / samples, taken, steps)

    # What a call takes lies behind its return: in the step that executes what follows the function that does nothing.
    last = max(steps, key=lambda step: sum(steps[step].counts.get(address, 0) for address in nothing.counts))
    each = {step: counted(executed, samples if step == last else 0, {}) for step, executed in steps.items()}
    return counted(whole, samples, each if len(steps) > 1 else {})


def _counted_steps(steps: Mapping[int, int], nothing: int, samples: int) -> Counted:
    """Cycles by step as simavr counts them; what a call takes lies behind the last one's return."""
    last = max(steps)
    each = {step: Counted(taken / samples - (nothing if step == last else 0), (), {}) for step, taken in steps.items()}
    return Counted(sum(step.count for step in each.values()), (), each)


def _must_fit(machine: Machine, static: int, stack: int) -> None:
    assert machine.ram is not None
    if static + stack > machine.ram:
        raise DidNotBuild(
            where=f"{machine.name}: replay.elf",
            expected=f"at most {machine.ram} bytes of RAM",
            got=f"{static} of data and {stack} of stack: the stack overwrites data",
        )
