"""Each instruction counted as QEMU executes it, by a plugin of QEMU's (firmware/targets/qemu/counter.c)."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware.emulation.build import STRICT, TARGETS, run_tool
from firmware.emulation.failure import EmulationFailure
from firmware.emulation.machines import Machine, missing, plugin_needs

__all__ = ["Executed", "counted_segments", "counter_absent", "counting_command", "write_marks"]

_MARKS, _COUNTS, _STEPS = "marks.txt", "counts.txt", "steps.txt"
#: Segments of a run: before and behind what is measured, the start itself, the function that does nothing, the model.
_STOP, _START, _NOTHING, _MODEL, _FIRST_STEP = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Executed:
    """How often instructions ran.

    Attributes:
        counts: executions, by address.
        jumps: how often execution went on elsewhere than behind it, by address.
    """

    counts: Mapping[int, int]
    jumps: Mapping[int, int]

    @property
    def instructions(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def times(self, count: int) -> Executed:
        """The same so many times."""
        counts, jumps = ({at: n * count for at, n in of.items()} for of in (self.counts, self.jumps))
        return Executed(counts, jumps)

    @property
    def jumped(self) -> int:
        """All jumps."""
        return sum(self.jumps.values())


def counter_absent(machine: Machine) -> str | None:
    """Why instructions can't be told apart on a machine, with the remedy; ``None`` if they can."""
    if machine.kind != "qemu":
        return f"{machine.name} is none of QEMU's machines"
    if why := missing(plugin_needs(machine), "instructions by kind"):
        return why
    if not _takes_plugins(machine.emulator[0]):
        return f"{machine.emulator[0]} was built without plugins: install Debian's qemu-system packages, 7.2 or later"
    return None


@functools.cache
def _takes_plugins(emulator: str) -> bool:
    told = subprocess.run([emulator, "-help"], capture_output=True, text=True, timeout=60, check=False)
    return "-plugin " in told.stdout


@functools.cache
def _plugin() -> Path:
    """The plugin, built once for each content.

    Raises:
        DidNotBuild: the host's compiler refuses it.
    """
    source = TARGETS / "qemu" / "counter.c"
    content = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    kept = Path(tempfile.gettempdir()) / f"qemu-counter-{os.getuid()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    built = kept / f"{content}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=kept) as folder:
            made = Path(folder) / "counter.so"
            flags = ("-std=gnu11", "-shared", "-fPIC", "-O2", "-fvisibility=hidden", *STRICT)
            run_tool("counter.c", ("gcc", *flags, source, "-o", made))
            made.replace(built)  # whole or not at all: another process may build it too
    return built


def counting_command(machine: Machine) -> tuple[str, ...]:
    """The command of a machine's emulator, counting by the marks in the working folder.

    Raises:
        DidNotBuild: the host's compiler refuses the plugin.
    """
    *before, kernel = machine.emulator
    return (*before, "-plugin", f"{_plugin()},marks={_MARKS},out={_COUNTS}", kernel)


def write_marks(machine: Machine, elf: Path, folder: Path, invoke: str, steps: Mapping[int, int]) -> None:
    """Where a replay's program begins and ends a measurement, calls the model, and is in a step.

    Args:
        machine: of the program.
        elf: the program.
        folder: in which it will run.
        invoke: name of the model's function.
        steps: by address.

    Raises:
        DidNotBuild: the program's symbols can't be read.
    """
    segments = {"rig_count_start": _START, "nothing": _NOTHING, invoke: _MODEL, "rig_count_stop": _STOP}
    marks = {address: _FIRST_STEP + step for address, step in steps.items()}
    marks |= {address: segments[name] for name, address in _symbols(machine, elf) if name in segments}
    lines = [f"{address:x} {segment:x}" for address, segment in marks.items()]
    (folder / _MARKS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_step_marks(folder: Path, steps: Mapping[int, int]) -> None:
    """The same for simavr's runner, which knows the rest."""
    (folder / _MARKS).write_text("".join(f"{at:x} {step}\n" for at, step in steps.items()), encoding="utf-8")


def step_cycles(folder: Path) -> dict[int, int]:
    """What simavr's runner wrote: cycles of all samples, by step; -1 is what precedes the first."""
    lines = (folder / _STEPS).read_text(encoding="utf-8").splitlines()
    return {int(step): int(cycles) for step, cycles in (line.split() for line in lines)}


def _symbols(machine: Machine, elf: Path) -> Iterable[tuple[str, int]]:
    for line in run_tool(f"{machine.name}: nm", (f"{machine.prefix}nm", elf)).splitlines():
        parts = line.split()
        if len(parts) == 3:
            yield parts[2], int(parts[0], 16)


def counted_segments(machine: Machine, elf: Path, folder: Path) -> tuple[Executed, Executed, Mapping[int, Executed]]:
    """What a run counted: the function that does nothing, then all of the model's calls, then these by step.

    Instructions of the counter's own exception are left out. What the model did before its first step has number -1.

    Raises:
        EmulationFailure: the plugin wrote nothing.
    """
    written = folder / _COUNTS
    if not written.exists():
        raise EmulationFailure(where=f"{machine.name}: {elf.name}", expected="counts of its plugin", got="none")
    ticking = _ticking(machine, elf)
    counts: dict[int, dict[int, int]] = {}
    jumps: dict[int, dict[int, int]] = {}
    for line in written.read_text(encoding="utf-8").splitlines():
        segment, address, executed, jumped = (int(number, 16) for number in line.split())
        if address not in ticking:
            counts.setdefault(segment, {})[address] = executed
            jumps.setdefault(segment, {})[address] = jumped
    steps = {s - _FIRST_STEP: Executed(counts[s], jumps[s]) for s in sorted(counts) if s >= _MODEL}
    nothing = Executed(counts.get(_NOTHING, {}), jumps.get(_NOTHING, {}))
    return nothing, _together(tuple(steps.values())), steps


def _ticking(machine: Machine, elf: Path) -> range:
    """Addresses of the exception that counts a counter's turns."""
    for line in run_tool(f"{machine.name}: nm", (f"{machine.prefix}nm", "-S", elf)).splitlines():
        parts = line.split()
        if len(parts) == 4 and parts[3] == "start_tick":
            first = int(parts[0], 16)
            return range(first, first + int(parts[1], 16))
    return range(0)


def _together(parts: Sequence[Executed]) -> Executed:
    counts: dict[int, int] = {}
    jumps: dict[int, int] = {}
    for part in parts:
        for address, count in part.counts.items():
            counts[address] = counts.get(address, 0) + count
            jumps[address] = jumps.get(address, 0) + part.jumps[address]
    return Executed(counts, jumps)
