"""What a board has to be before it joins the others."""

from __future__ import annotations

import re
from collections.abc import Mapping

from export.boards.machine import machine_of
from export.boards.record import Board, Supply
from qtorch.errors import BadConfiguration

__all__ = ["require_board"]


def require_board(board: object, others: Mapping[str, Board], owners: Mapping[str, str]) -> Board:
    """The board, as far as it can be seen.

    Args:
        board: whatever was handed over.
        others: the boards that there are, by name, but an earlier edition of this one.
        owners: the module of each of them.

    Raises:
        BadConfiguration: it is no board, says nothing of its supply, or another has its name; says whose.
    """
    if not isinstance(board, Board):
        raise BadConfiguration(
            where="export.register_board",
            expected="a Board of export.boards",
            got=f"{board!r:.80}",
            remedy="hand over the record itself, as docs/add_a_board.md makes it",
        )
    where = f"board {board.name!r}"
    if not isinstance(board.name, str) or not re.fullmatch(r"[\w.+-]+", board.name):
        raise BadConfiguration(
            where=where,
            expected="a name of letters, digits, and any of _ . + -, as a command line takes it",
            got=repr(board.name),
            remedy="name it as its maker does, in one word",
        )
    if board.name in others:
        raise BadConfiguration(
            where=where,
            expected="a name that no other board has",
            got=f"that of a board of {owners[board.name]}",
            remedy="name it otherwise",
        )
    if not isinstance(board.supply, Supply) and not board.supply.strip():
        raise BadConfiguration(
            where=f"{where}: supply",
            expected="a Supply, or in words why there is none",
            got=repr(board.supply),
            remedy="take current and voltage from the data sheet of its microcontroller",
        )
    machine_of(board)
    return board
