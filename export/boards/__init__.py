"""Boards that an export can be made for: what they compute with, what they hold, and whose build system they use.

A file for each ecosystem holds their records, and all that is known of a board stands in its record.
"""

from __future__ import annotations

import difflib

from export.boards import arduino, cmake, esp_idf, platformio, zephyr
from export.boards.ecosystem import Arduino, CMake, CortexM, Ecosystem, EspIdf, PlatformIO, Zephyr
from export.boards.record import Board, Supply
from qtorch.errors import BadConfiguration

__all__ = [
    "BOARDS",
    "Arduino",
    "Board",
    "CMake",
    "CortexM",
    "Ecosystem",
    "EspIdf",
    "PlatformIO",
    "Supply",
    "Zephyr",
    "board",
]

#: By name; :data:`export.boards.cmake.HOST` is what an export is made for where nobody names a board.
BOARDS = {
    each.name: each
    for each in (
        cmake.HOST,
        *arduino.BOARDS,
        *platformio.BOARDS,
        *zephyr.BOARDS,
        *esp_idf.BOARDS,
        *cmake.BOARDS,
    )
}


def board(name: str) -> Board:
    """The board of that name.

    Raises:
        BadConfiguration: there is none.
    """
    if name not in BOARDS:
        raise BadConfiguration(
            where="export.target",
            expected=f"one of {', '.join(BOARDS)}",
            got=repr(name),
            remedy=f"{alike[0]}, or leave the option out"
            if (alike := difflib.get_close_matches(name, BOARDS, 1, 0.5))
            else "choose the board with the same microcontroller, or leave the option out",
        )
    return BOARDS[name]
