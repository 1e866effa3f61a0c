"""The share of a board's flash and RAM that a network takes; what comes on top is named, never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export.boards import BOARDS, HOST, Board

__all__ = ["BoardShare", "board_shares", "in_a_line", "in_lines"]

#: What the bytes of flash are in TFLite Micro: of plain C they are program and constants, and all that computes.
_FILE = "model file; interpreter and kernels come on top"


@dataclass(frozen=True)
class BoardShare:
    """What a network takes of one board.

    Attributes:
        board: key of :data:`export.boards.BOARDS`.
        form: ``"plain C"`` or ``"TFLite Micro"``.
        flash_bytes: of plain C the program and its constants as compiled for the board, or the constants alone; else
            the model file.
        flash_share: of the board's flash, 1 for all of it.
        ram_bytes: of plain C working memory, inputs and outputs; else the tensor arena; ``None`` if not measured.
        ram_share: of the board's RAM, likewise.
        flash_is: what the bytes of flash are, in words; what else the firmware needs comes on top.
        ram_is: likewise of RAM.
    """

    board: str
    form: str
    flash_bytes: int
    flash_share: float
    ram_bytes: int | None
    ram_share: float | None
    flash_is: str
    ram_is: str

    @property
    def fits(self) -> bool:
        """Whether neither alone exceeds the board."""
        return self.flash_share <= 1 and (self.ram_share is None or self.ram_share <= 1)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for metrics.json."""
        return asdict(self)


def board_shares(metrics: Mapping[str, Any], target: Board = HOST, project: bool = False) -> tuple[BoardShare, ...]:
    """Of the board that an export is made for; of some well-known ones where that is the host.

    Plain C where it was written; else the file in TFLite Micro, on boards that run it. Both where a project is made,
    which runs the file.

    Args:
        metrics: of the export: ``tflite_bytes``, ``arena_bytes`` and ``c``, as metrics.json has them.
        target: whose flash and RAM count.
        project: whether a project that runs the model is made for it.
    """
    boards = [target] if target.flash is not None else _well_known()
    c = metrics.get("c")
    forms = (None,) if c is None else (None, c) if project and target.tflm else (c,)
    return tuple(share for form in forms for board in boards if (share := _share(metrics, form, board)) is not None)


def _well_known() -> list[Board]:
    """Boards to speak of where none was asked for: small to large."""
    return sorted((each for each in BOARDS.values() if each.well_known), key=lambda each: each.ram or 0)


def _share(metrics: Mapping[str, Any], c: Mapping[str, Any] | None, board: Board) -> BoardShare | None:
    """Of plain C, or of the file where there is none."""
    if not board.flash or not board.ram:
        return None
    ram = None
    if c is not None:
        states = c.get("state_bytes", 0)
        form, ram = "plain C", _in_ram(c) + states
        compiled = c.get("board") == board.name
        flash = c["program_flash_bytes"] if compiled else c["constant_bytes"]
        flash_is = "program and constants" if compiled else "constants"
        ram_is = "working memory and states" if states else "working memory"
    elif board.tflm:
        form, flash, flash_is = "TFLite Micro", metrics["tflite_bytes"], _FILE
        ram, ram_is = metrics.get("arena_bytes") or None, "tensor arena"
    else:
        return None
    share = None if ram is None else ram / board.ram
    return BoardShare(board.name, form, flash, flash / board.flash, ram, share, flash_is, ram_is)


def _in_ram(c: Mapping[str, Any]) -> int:
    """Bytes of working memory in the board's RAM, beside which there may be another memory."""
    in_ram = [one["bytes"] for one in c.get("memories", {}).values() if one["name"] == "RAM"]
    return int(sum(in_ram) if in_ram else c["scratch_bytes"])


def in_lines(shares: Sequence[BoardShare]) -> tuple[str, ...]:
    """:func:`in_a_line` of each form that there is."""
    forms = dict.fromkeys(share.form for share in shares)
    return tuple(in_a_line([share for share in shares if share.form == form]) for form in forms)


def in_a_line(shares: Sequence[BoardShare]) -> str:
    """Shares of one form: of one board with bytes, of several without; empty of none.

    >>> uno = BoardShare("uno", "plain C", 3200, 3200 / 32256, 52, 52 / 2048, "program and constants", "working memory")
    >>> in_a_line([uno])
    'uno, plain C: 9.9 % of flash (3,200 bytes: program and constants), 2.5 % of RAM (52 bytes: working memory)'
    """
    if not shares:
        return ""
    if len(shares) == 1:
        (one,) = shares
        line = (
            f"{one.board}, {one.form}: {_percent(one.flash_share)} of flash ({one.flash_bytes:,} bytes: {one.flash_is})"
        )
        if one.ram_share is None:
            return line
        return f"{line}, {_percent(one.ram_share)} of RAM ({one.ram_bytes:,} bytes: {one.ram_is})"
    first = shares[0]
    each = ", ".join(
        f"{share.board} {_percent(share.flash_share)}"
        + ("" if share.ram_share is None else f" and {_percent(share.ram_share)}")
        for share in shares
    )
    ram_is = "" if first.ram_share is None else f" and of RAM ({first.ram_is})"
    return f"{first.form}, share of flash ({first.flash_is}){ram_is}: {each}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"
