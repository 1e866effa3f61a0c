"""Boards that an export can be made for: what they compute with, what they hold, and whose build system they use.

A file for each ecosystem holds their records, and all that is known of a board stands in its record. Boards of other
packages join them: by :func:`register_board`, or by entry points of the group ``qtorch.boards``.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Collection
from importlib import import_module
from itertools import takewhile
from pathlib import Path

from export.boards import arduino, cmake, esp_idf, makers_sdk, platformio, zephyr
from export.boards.ecosystem import Arduino, CMake, CortexM, Ecosystem, EspIdf, MakersSdk, PlatformIO, Zephyr
from export.boards.machine import counted_cpu, machine_of
from export.boards.memory import Memory
from export.boards.record import Board, FlashWaits, Supply
from export.boards.registration import require_board
from qtorch.discovery import Registry
from qtorch.errors import BadConfiguration
from qtorch.handed_over.words import shown

__all__ = [
    "BOARDS",
    "HOST",
    "Arduino",
    "Board",
    "CMake",
    "CortexM",
    "Ecosystem",
    "EspIdf",
    "FlashWaits",
    "MakersSdk",
    "Memory",
    "PlatformIO",
    "Supply",
    "Zephyr",
    "board",
    "counted_cpu",
    "machine_of",
    "register_board",
]

#: What an export is made for where nobody names a board.
HOST = cmake.HOST

_OWN = {
    each.name: each
    for each in (
        HOST,
        *arduino.BOARDS,
        *platformio.BOARDS,
        *zephyr.BOARDS,
        *esp_idf.BOARDS,
        *makers_sdk.BOARDS,
        *cmake.BOARDS,
    )
}

#: By name. Entry points of the group name a board, or a module whose ``BOARD`` is one.
BOARDS: Registry[Board] = Registry(
    _OWN, __name__, kind=Board, group="qtorch.boards", cell="BOARD", require=require_board
)


def register_board(board: Board) -> Board:
    """A board of one's own among the others: what ``--export.target`` takes, weighs and writes projects for.

    Example:
        >>> mine = Board("mine", "a board", "cortex-m4", 2**18, 2**15, Zephyr("mine"), 64_000_000, "not measured")
        >>> register_board(mine).name
        'mine'

    The same board is registered once, by a module that an entry point of the group ``qtorch.boards`` names too for
    example; one that the same module made before gives way to its new edition.

    Raises:
        BadConfiguration: it is no :class:`Board`, says nothing of its supply, or another has its name.
    """
    BOARDS.add(board, str(sys._getframe(1).f_globals.get("__name__", "")))
    return board


def board(name: str, where: str = "export.target", among: Collection[str] | None = None) -> Board:
    """The board of that name.

    Args:
        name: of a board that is registered; or ``module:NAME``, a board of a module that can be imported, from the
            working folder too.
        where: the name was given, for the message.
        among: names of those that serve there; all if ``None``.

    Raises:
        BadConfiguration: there is none; says which are described by these words, or else called alike.
    """
    known = BOARDS if among is None else among
    if not isinstance(name, str):
        raise BadConfiguration(
            where=where, expected="the name of a board, a text", got=shown(name),
            remedy="write it as in 'uno'",
        )  # fmt: skip
    if name in known:
        return BOARDS[name]
    if ":" in name:
        return _imported(name, where)
    raise BadConfiguration(
        where=where,
        expected=f"one of {', '.join(known)}, or module:NAME of a board of your own",
        got=repr(name),
        remedy=_remedy(name, where, known),
    )


def _remedy(name: str, where: str, known: Collection[str]) -> str:
    """What to choose instead of a name that is none: boards are known by what is printed on them."""
    same = [each for each in known if each.lower() == name.lower()]
    if same:
        return f"{where} {same[0]}"
    asked = _words(name)
    fits = {each: sum(_fit(word, BOARDS[each]) for word in asked) for each in known}
    best = max(fits.values(), default=0)
    described = [each for each, fit in fits.items() if fit and fit == best]
    by_chip = "choose the board with the same microcontroller"
    if described:
        listed = " or ".join(f"{each} ({BOARDS[each].description})" for each in described[:_LISTED])
        if len(described) > _LISTED:
            listed += f" or one of {', '.join(described[_LISTED:])}"
        return f"{where} {listed}" if best == sum(map(len, asked)) else f"{by_chip}, maybe {listed}"
    alike = difflib.get_close_matches(name.lower(), known, 1)
    return f"{where} {alike[0]}" if alike else f"{by_chip}, or leave the option out"


#: Boards that a remedy describes at most; others are named.
_LISTED = 4
#: Letters in which a word and a name begin alike, at least, if the word does not end there: stm32g431 is like STM32F4.
_KIN = 5


def _fit(word: str, board: Board) -> int:
    """How many letters of a word stand at the beginning of one on the board, or of its name or processor."""
    own = _words(board.description) | _words(board.name.replace("_", " ")) | _words(board.cpu)
    begun = max(_begin_alike(word, each) for each in own)
    whole = word in own or (begun == len(word) > 2)
    return begun if whole or begun >= _KIN else 0


def _begin_alike(one: str, other: str) -> int:
    """How many letters."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def _imported(name: str, where: str) -> Board:
    """A board of somebody's module, registered under the name that it bears."""
    module, _, attribute = name.partition(":")
    here, problem, stated = str(Path.cwd()), "", None
    absent = here not in sys.path
    if absent:
        # The last, so that no file of the working folder takes the place of an installed module.
        sys.path.append(here)
    try:
        stated = getattr(import_module(module), attribute, None)
    # Whatever a module of somebody else's does when it is imported; a name of an empty part is a ValueError.
    except Exception as error:
        problem = f", and importing {module!r} ends in {type(error).__name__}: {error}"
    finally:
        if absent and here in sys.path:
            sys.path.remove(here)
    if not isinstance(stated, Board):
        raise BadConfiguration(
            where=where,
            expected="a Board of export.boards by the name of its module and its own, module:NAME",
            got=repr(name) + (problem or f", which is {stated!r:.80}"),
            remedy="run where the module can be imported, and write BOARD = Board(...) there",
        )
    BOARDS.add(stated, module)
    return stated
