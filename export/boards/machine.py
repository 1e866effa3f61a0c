"""Which emulated machine stands for a board."""

from __future__ import annotations

from export.boards.record import Board
from firmware.emulation import MACHINES, Machine
from qtorch.errors import BadConfiguration

__all__ = ["counted_cpu", "machine_of"]

#: Processors that no machine here is, by one that executes what their plain C is compiled to: the same instructions
#: (Armv8.1-M with vectors), or the subset of them that C without floats needs (RV32IMAC).
_STANDS_IN = {"cortex-m85": "cortex-m55", "riscv32-p4": "riscv32"}


def counted_cpu(board: Board) -> str:
    """The processor of the machines that count for a board: its own, or one that executes the same instructions."""
    return _STANDS_IN.get(board.cpu, board.cpu)


def machine_of(board: Board) -> Machine | None:
    """The emulated machine that counts for a board: its own microcontroller first, then one with its processor.

    Raises:
        BadConfiguration: the board's record names a machine that is not there, or has another processor.
    """
    cpu = counted_cpu(board)
    same = {machine.name: machine for machine in MACHINES.values() if machine.unit is not None and machine.cpu == cpu}
    if board.machine is None:
        return next(iter(same.values()), None)
    if board.machine not in same:
        raise BadConfiguration(
            where=f"board {board.name!r}: machine",
            expected=f"an emulated machine with its processor, {board.cpu}: {', '.join(same) or 'there is none'}",
            got=repr(board.machine),
            remedy="choose one, or leave the field out",
        )
    return same[board.machine]
