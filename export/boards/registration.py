"""What a board has to be before it joins the others."""

from __future__ import annotations

import re
from collections.abc import Mapping

from export.boards.machine import machine_of
from export.boards.memory import Memory
from export.boards.record import Board, Supply
from qtorch.editions.known import edition
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
    _require_fields(board, where)
    edition(board.edition, f"{where}: edition")
    if not isinstance(board.supply, Supply) and not (isinstance(board.supply, str) and board.supply.strip()):
        raise BadConfiguration(
            where=f"{where}: supply",
            expected="a Supply, or in words why there is none",
            got=f"{board.supply!r:.80}",
            remedy="take current and voltage from the data sheet of its microcontroller",
        )
    machine_of(board)
    return board


def _require_fields(board: Board, where: str) -> None:
    """Refuse values of other kinds than the record declares.

    Raises:
        BadConfiguration: a field has one.
    """
    expected = {
        "description": "a text, for people",
        **dict.fromkeys(("flash", "ram"), "bytes, a whole number above 0, or None where no limit is worth checking"),
        "clock_hz": "Hz, a whole number above 0, or None of the host",
        **dict.fromkeys(("tflm", "well_known"), "True or False"),
        "second": "a Memory of export.boards, or None",
    }
    for field, meant in expected.items():
        value = getattr(board, field)
        if field == "description":
            fits = isinstance(value, str) and bool(value.strip())
        elif field == "second":
            fits = value is None or isinstance(value, Memory)
        elif field in ("tflm", "well_known"):
            fits = isinstance(value, bool)
        else:
            fits = value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)
        if not fits:
            raise BadConfiguration(
                where=f"{where}: {field}", expected=meant, got=f"{value!r:.80}", remedy="take it from the data sheet"
                if field in ("flash", "ram", "clock_hz") else "give such",
            )  # fmt: skip
