"""Which emulated machine stands for a board."""

from __future__ import annotations

from export.boards.record import Board
from firmware.emulation import MACHINES, Machine
from qtorch.errors import BadConfiguration

__all__ = ["machine_of"]


def machine_of(board: Board) -> Machine | None:
    """The emulated machine that counts for a board: its own microcontroller first, then one with its processor.

    Raises:
        BadConfiguration: the board's record names a machine that is not there, or has another processor.
    """
    same = {
        machine.name: machine for machine in MACHINES.values() if machine.unit is not None and machine.cpu == board.cpu
    }
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
