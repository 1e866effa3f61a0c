"""Cycles from counted instructions, by what a processor's manual publishes of each kind of instruction.

A figure that a manual leaves open (a range, an order of neighbours) gives two totals, the least and the most. A kind of
instruction that no manual at hand times is unknown: it counts one cycle to the least, and there is no most.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from firmware.emulation.counter import Executed
from firmware.emulation.disassembly import Instruction

__all__ = ["Cycles", "Kind", "Timing", "cycles"]


@dataclass(frozen=True)
class Kind:
    """Instructions that take the same.

    Attributes:
        name: for people.
        pattern: regular expression of the whole of ``mnemonic operands``.
        least: cycles, where execution goes on behind it.
        most: likewise; ``None``: unknown.
        each: more for each register in its list.
        jump: least and most cycles more when it jumps.
        memory: whether it is a single load or store, of those that the manual pipelines.
        unit: the unit that is busy with it, of which there is one, for ``occupied`` cycles.
        occupied: see ``unit``.
    """

    name: str
    pattern: str
    least: int
    most: int | None
    each: int = 0
    jump: tuple[int, int] = (0, 0)
    memory: Literal["", "load", "store"] = ""
    unit: str = ""
    occupied: int = 0


@dataclass(frozen=True)
class Timing:
    """What is published of a processor.

    Attributes:
        core: its name.
        source: the document.
        kinds: of its instructions; the first that matches counts.
        assumption: what the figures leave out or take for granted, in words.
        issue: instructions that may begin in one cycle; more than 1 divides the least.
        neighbours: whether a load or store takes one cycle less behind a load that does not give its address, and one
            more behind a calculation that does.
    """

    core: str
    source: str
    kinds: tuple[Kind, ...]
    assumption: str
    issue: int = 1
    neighbours: bool = False

    @functools.cached_property
    def compiled(self) -> tuple[tuple[re.Pattern[str], Kind], ...]:
        """The kinds with their patterns."""
        return tuple((re.compile(kind.pattern), kind) for kind in self.kinds)

    def kind(self, instruction: Instruction) -> Kind | None:
        """Of an instruction; ``None``: unknown."""
        text = instruction.text
        if text not in self.found:
            self.found[text] = next((kind for pattern, kind in self.compiled if pattern.fullmatch(text)), None)
        return self.found[text]

    @functools.cached_property
    def found(self) -> dict[str, Kind | None]:
        """The kinds of what was looked up before."""
        return {}


@dataclass(frozen=True)
class Cycles:
    """Cycles of what was executed, without waiting for memory.

    Attributes:
        core: whose.
        least: at least as many, where the figures hold.
        most: at most; ``None``: an upper figure is published for none or not all of the instructions.
        jumps: how often execution went on elsewhere, which is what flash with wait states is slow at.
        unknown: mnemonics of unknown time, each counted as one cycle; the most frequent first.
        source: the document.
        assumption: in words.
    """

    core: str
    least: float
    most: float | None
    jumps: float = 0.0
    unknown: tuple[str, ...] = ()
    source: str = ""
    assumption: str = ""

    def per(self, runs: float) -> Cycles:
        """Of one run of several."""
        most = None if self.most is None else self.most / runs
        return Cycles(self.core, self.least / runs, most, self.jumps / runs, self.unknown, self.source, self.assumption)


def cycles(
    executed: Executed, program: Mapping[int, Instruction], timing: Timing, less: Executed | None = None
) -> Cycles:
    """What a processor takes for what was executed.

    Args:
        executed: of a program.
        program: its instructions, by address, in ascending order.
        timing: of the processor.
        less: what is no part of it: its cycles are subtracted.

    Raises:
        KeyError: an instruction was executed where the disassembly has none.
    """
    whole = _sums(executed, program, timing)
    none = _sums(less, program, timing) if less is not None else _Sums()
    most = None if whole.most is None or none.most is None else whole.most - none.most
    unknown = sorted(whole.unknown, key=lambda name: (-whole.unknown[name], name))
    jumps = executed.jumped - (less.jumped if less is not None else 0)
    least = whole.least(timing.issue) - none.least(timing.issue)
    return Cycles(timing.core, least, most, jumps, tuple(unknown), timing.source, timing.assumption)


@dataclass
class _Sums:
    single: float = 0  # cycles, one instruction behind the other
    most: float | None = 0
    begun: float = 0  # instructions
    units: dict[str, float] = field(default_factory=dict)  # cycles that each is busy
    unknown: dict[str, int] = field(default_factory=dict)

    def least(self, issue: int) -> float:
        if issue == 1:
            return self.single
        return max((self.begun / issue, *self.units.values()))


def _sums(executed: Executed, program: Mapping[int, Instruction], timing: Timing) -> _Sums:
    sums = _Sums()
    before: tuple[Instruction, Kind | None] | None = None
    for address in sorted(executed.counts):
        instruction, count = program[address], executed.counts[address]
        kind = timing.kind(instruction)
        if count:
            jumps = executed.jumps.get(address, 0)
            sums.begun += count
            if kind is None or kind.most is None:
                sums.most = None
            if kind is None:
                sums.unknown[instruction.mnemonic] = sums.unknown.get(instruction.mnemonic, 0) + count
                sums.single += count
            else:
                least, most = _of_one(kind, instruction)
                sums.single += least * count + kind.jump[0] * jumps
                if sums.most is not None and most is not None:
                    sums.most += most * count + kind.jump[1] * jumps
                if kind.unit:
                    sums.units[kind.unit] = sums.units.get(kind.unit, 0) + kind.occupied * count
                if timing.neighbours and before is not None and before[0].address + before[0].size == address:
                    # What is no jump goes on right behind it, so as often as both ran they ran one behind the other.
                    together = min(count, executed.counts.get(before[0].address, 0))
                    less = _less_behind(before, instruction, kind, least)
                    sums.single -= less[0] * together
                    if sums.most is not None:
                        sums.most -= less[1] * together
        before = (instruction, kind)
    return sums


def _of_one(kind: Kind, instruction: Instruction) -> tuple[int, int | None]:
    listed = kind.each * _registers(instruction.operands) if kind.each else 0
    return kind.least + listed, None if kind.most is None else kind.most + listed


def _registers(operands: str) -> int:
    """How many stand in ``{...}``.

    Example:
        >>> _registers("sp!, {r4, r5, lr}"), _registers("{d8-d11}")
        (3, 4)
    """
    inside = re.search(r"\{(.*)\}", operands)
    if inside is None:
        return 0
    count = 0
    for part in inside[1].split(","):
        ends = [int(number) for number in re.findall(r"\d+", part)]
        count += ends[1] - ends[0] + 1 if "-" in part else 1
    return count


_NAMES = {"sp": "r13", "lr": "r14", "pc": "r15", "sl": "r10", "fp": "r11", "ip": "r12", "r9": "r9"}


def _named(operands: str) -> frozenset[str]:
    return frozenset(_NAMES.get(name, name) for name in re.findall(r"\b(?:r\d+|sp|lr|pc|sl|fp|ip)\b", operands))


def _less_behind(
    before: tuple[Instruction, Kind | None], instruction: Instruction, kind: Kind, least: int
) -> tuple[int, int]:
    """Cycles that a load or store takes less behind its neighbour, least and most; negative: more."""
    earlier, of_earlier = before
    if not kind.memory or of_earlier is None or of_earlier.jump != (0, 0):
        return 0, 0
    address = _named(instruction.operands[instruction.operands.find("[") :].split("]")[0])
    given = _named(earlier.operands.split(",")[0]) & address
    if of_earlier.memory == "load":
        return (1, 1) if not given and least > 1 else (0, 0)
    if of_earlier.memory or "{" in earlier.operands or re.match(r"cmp|cmn|tst|teq|it|nop|str|v", earlier.mnemonic):
        return 0, 0
    return (-1, -1) if given else (0, 0)
