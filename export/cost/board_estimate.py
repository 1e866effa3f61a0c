"""Milliseconds and microjoules of one inference on boards, from what emulated machines counted.

Nothing is guessed: a time is cycles that were counted, or a bound with its reason beside it, or what the user assumes;
an energy needs a published current (:class:`export.boards.Supply`) or the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from export.boards import Board, Supply, counted_cpu, machine_of
from export.cost.machines import MachineProfile
from firmware.emulation import Cycles, Machine

__all__ = ["Estimate", "estimates"]

#: What one cycle for each instruction leaves out, by processor, where that makes it the least: cycles without waiting
#: for memory, from Arm's technical reference manuals. How often each runs is not counted. (The Cortex-M3 and M4 may
#: fold an IT instruction into none.)
_AT_LEAST = {
    "cortex-m0": "a load takes up to 2, a jump 2 or more, a multiplication 1 or 32 (Arm DDI 0484, table 3.1)",
    "cortex-m3": "a jump takes 2 to 4, MLA 2, a long multiplication 3 to 7 (Arm DDI 0337, table 3.1)",
    "cortex-m4": "a jump takes 2 to 4 (Arm 100166, table 3-1)",
    "riscv32": "some may take more",
}

#: Why the same is no bound.
_NO_BOUND = {
    "cortex-m7": "the Cortex-M7 can issue two instructions in a cycle",
    "cortex-m33": "the Cortex-M33 can issue two instructions of 16 bits in a cycle",
    "cortex-m55": "the Cortex-M55 can issue two instructions in a cycle, and closes loops in none",
    "cortex-m85": "the Cortex-M85 can issue two instructions in a cycle, and closes loops in none",
    "riscv32-p4": "how many instructions the ESP32-P4's processor issues in a cycle stands in no document at hand",
}


@dataclass(frozen=True)
class Estimate:
    """Time and energy of one inference on a board, computing in plain C.

    Attributes:
        board: key of :data:`export.boards.BOARDS`.
        milliseconds: ``None`` if nothing was counted for its processor, or if the program does not fit; where
            there is a ``most``, the least.
        microjoules: ``None`` if there is no time or no current; as good as ``milliseconds``.
        time_is: ``"counted"`` cycles, ``"published"`` cycles of the counted instructions, the same ``"without waits"``
            for flash where nothing is known of these, a ``"lower bound"``, ``"no bound"`` (one cycle for each
            instruction, on a processor that may take less or more), ``"assumed"`` by the user, or ``"unknown"``.
        assumptions: in words, each of them.
        most: milliseconds; ``None`` where nothing says how many at most.
    """

    board: str
    milliseconds: float | None
    microjoules: float | None
    time_is: Literal["counted", "published", "without waits", "lower bound", "no bound", "assumed", "unknown"]
    assumptions: str
    most: float | None = None


def estimates(
    machines: Sequence[MachineProfile],
    boards: Sequence[Board],
    supply: Supply | None = None,
    clock_hz: int | None = None,
    cycles_per_instruction: float | None = None,
) -> tuple[Estimate, ...]:
    """Milliseconds and microjoules: cycles over the clock; current times voltage times that time.

    Args:
        machines: what was counted.
        boards: to estimate; ``host`` is passed over.
        supply: of all boards; the published ones if ``None``.
        clock_hz: of all boards; their own if ``None``.
        cycles_per_instruction: where instructions were counted; 1 if ``None``, which is a lower bound on a processor
            that issues one at a time.
    """
    return tuple(
        _estimate(machines, each, supply, clock_hz or each.clock_hz, cycles_per_instruction)
        for each in boards
        if each.clock_hz is not None
    )


def _estimate(
    machines: Sequence[MachineProfile],
    board: Board,
    measured: Supply | None,
    clock_hz: int,
    per_instruction: float | None,
) -> Estimate:
    same = sorted(
        (machine for machine in machines if machine.cpu == counted_cpu(board)),
        key=lambda machine: (bool(machine.absent), machine.machine != board.machine),
    )
    why = _without_time(same, machine_of(board), board)
    if why:
        return Estimate(board.name, None, None, "unknown", why)
    counted = same[0]
    time_is: Literal["counted", "published", "without waits", "lower bound", "no bound", "assumed"]
    most: float | None = None
    cycles = counted.cycles_of(board.core) if per_instruction is None else None
    if cycles is not None:
        time_is, said, most = _from_cycles(cycles, board, clock_hz)
        seconds = cycles.least / clock_hz
    else:
        time_is, said = _time_is(counted, board, per_instruction)
        seconds = counted.median * (1.0 if counted.unit == "cycles" else per_instruction or 1.0) / clock_hz
    instead = "" if counted.cpu == board.cpu else f", which stands for a {board.cpu},"
    said = f"{counted.unit} of {counted.machine}{instead} at {clock_hz / 1e6:g} MHz{said}"
    supply = measured or board.supply
    if not isinstance(supply, Supply):
        why = supply or "none is in export/boards"
        said += f"; no current: {why}; give --milliamps and --volts"
        return Estimate(board.name, 1e3 * seconds, None, time_is, said, most)
    published = supply.clock_hz or clock_hz
    joules = supply.milliamps * 1e-3 * clock_hz / published * supply.volts * seconds
    said += f"; {supply.milliamps:g} mA at {supply.volts:g} V and {published / 1e6:g} MHz ({supply.source})"
    if published != clock_hz:
        said += ", proportional to the clock"
    return Estimate(board.name, 1e3 * seconds, 1e6 * joules, time_is, said, most)


def _without_time(same: Sequence[MachineProfile], machine: Machine | None, board: Board) -> str:
    """Why a board's time is not known; empty if it is."""
    if not same:
        if machine is not None:
            return f"its processor was left out: add --machine {machine.name}"
        return f"no emulated machine has its processor, {board.cpu}"
    if same[0].absent:
        return f"{same[0].machine}: {same[0].absent}"
    needs = ((same[0].flash, board.flash, "flash"), (same[0].ram + same[0].stack, board.ram, "RAM with the stack"))
    beyond = [f"{need:,} bytes of {what} of {has:,}" for need, has, what in needs if has is not None and need > has]
    return f"does not fit: {', '.join(beyond)}" if beyond else ""


def _from_cycles(
    cycles: Cycles, board: Board, clock_hz: int
) -> tuple[Literal["published", "without waits", "lower bound"], str, float | None]:
    """What the time is, in words what it takes for granted, and the most milliseconds.

    A read of flash is taken to be waited for behind each jump at most: what lies behind is read in advance.
    """
    said = f", by kind with the {_named(cycles.core)}'s cycles ({cycles.source}): {cycles.assumption}"
    if cycles.unknown:
        said += f"; one cycle each, for none is published: {', '.join(cycles.unknown[:_NAMED])}"
    waits, most = board.flash_waits if clock_hz == board.clock_hz else None, cycles.most
    if waits is not None:
        said += (
            f"; {waits.cycles} wait states of flash at most behind each of {cycles.jumps:,.0f} jumps, "
            f"{waits.hidden_by} ({waits.source}), without those of constants"
        )
        most = None if most is None else most + waits.cycles * cycles.jumps
    else:
        said += "; flash may have to be waited for"
    bounded = most is not None and "publishes no" not in cycles.source
    milliseconds = None if most is None else 1e3 * most / clock_hz
    return "lower bound" if not bounded else "without waits" if waits is None else "published", said, milliseconds


#: Instructions without a published time that are named.
_NAMED = 6


def _named(core: str) -> str:
    """As its maker writes it."""
    return core.replace("cortex-m0plus", "Cortex-M0+").replace("cortex-m", "Cortex-M").replace("riscv32", "RV32")


def _time_is(
    counted: MachineProfile, board: Board, per_instruction: float | None
) -> tuple[Literal["counted", "lower bound", "no bound", "assumed"], str]:
    if counted.unit == "cycles":
        # Beyond 128 KiB of flash an AVR's program counter has 22 bits (AVR instruction set manual, CALL, RET).
        if board.flash is not None and board.flash > 128 * 1024:
            return "lower bound", ", a lower bound: calls and returns take the board a cycle more"
        return "counted", ""
    if per_instruction is not None:
        return "assumed", f", {per_instruction:g} cycle(s) per instruction as given, waiting for flash included"
    if board.cpu in _NO_BOUND:
        return "no bound", f", 1 cycle per instruction, which is no bound: {_NO_BOUND[board.cpu]}"
    more = _AT_LEAST.get(board.cpu, "some may take more")
    return "lower bound", f", 1 cycle per instruction, a lower bound: {more}, and flash may have to be waited for"
