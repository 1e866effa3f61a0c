"""What a command prints, as data: lines and tables; :mod:`export.console.terminal` shows it to a person or a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Block", "Line", "Table", "plain_text", "printable"]


@dataclass(frozen=True)
class Line:
    """One line of text; ``mark`` says what a terminal makes of it."""

    text: str = ""
    mark: Literal["plain", "heading", "attention"] = "plain"


@dataclass(frozen=True)
class Table:
    """Rows under a head.

    Attributes:
        head: titles of the columns.
        align: ``l`` or ``r`` for each column. What is aligned to the right is a number, which is never broken.
        rows: as many cells as titles, shown as ``str`` has them.
        title: over the table in a terminal; piped text begins with the head, which is all that a program needs.
        attention: indices of rows with a finding, an error or a disagreement; a terminal highlights them.

    Raises:
        ValueError: a row or ``align`` has another length than ``head``.
    """

    head: tuple[str, ...]
    align: str
    rows: tuple[tuple[object, ...], ...]
    title: str = ""
    attention: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        wrong = next((row for row in (self.align, *self.rows) if len(row) != len(self.head)), None)
        if wrong is not None:
            raise ValueError(f"table: expected {len(self.head)} cells as in {self.head}, got {len(wrong)}: {wrong!r}")

    def __str__(self) -> str:
        """Columns two spaces apart."""
        return plain_text([self])

    @property
    def cells(self) -> list[list[str]]:
        """Head and rows, printable."""
        return [[printable(str(cell)) for cell in row] for row in (self.head, *self.rows)]


Block: TypeAlias = Line | Table


def plain_text(blocks: Iterable[Block]) -> str:
    """Text for a pipe: columns two spaces apart, one line for each row however long, no colour.

    Example:
        >>> print(plain_text([Line("two ops"), Table(("op", "count"), "lr", (("ADD", 2), ("SOFTMAX", 11)))]))
        two ops
        op       count
        ADD          2
        SOFTMAX     11
    """
    return "\n".join(
        line for each in blocks for line in ([printable(each.text)] if isinstance(each, Line) else _aligned(each))
    )


def _aligned(table: Table) -> list[str]:
    # Wide characters take two columns, which only a table of them knows; imported here because most imports print none.
    from rich.cells import cell_len

    cells = table.cells
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(table.head))]

    def padded(cell: str, width: int, side: str) -> str:
        space = " " * (width - cell_len(cell))
        return space + cell if side == "r" else cell + space

    return ["  ".join(map(padded, row, widths, table.align)).rstrip() for row in cells]


def printable(text: str) -> str:
    """Text whose control characters are escaped: a file's strings shall not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
