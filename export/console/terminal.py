"""The one place through which commands print their pages: rich tables for a person, plain text for a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from export.console.page import Block, Line, Table, plain_text, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

__all__ = ["show"]

#: Magenta is legible on light and on dark ground, and bold is left where colours are off; red would say "failed".
_STYLES = {"plain": "", "heading": "bold", "attention": "bold magenta"}
#: Text columns are not squeezed below this; a table that then is too wide is shown row by row.
_NARROW = 12
_GAP = 2


def show(blocks: Iterable[Block], file: TextIO | None = None) -> None:
    """Print a page.

    To a terminal: titles, bold heads, highlighted rows, in the terminal's width; ``NO_COLOR`` is respected. Cells of
    text wrap where a table is too wide, and where that is not enough each row becomes a paragraph: nothing is cut. To
    anything else: :func:`export.console.page.plain_text`, whatever ``FORCE_COLOR`` says, since programs read it.

    Args:
        blocks: the page.
        file: stdout if ``None``.
    """
    out = sys.stdout if file is None else file
    if out is None:  # closed by whoever started the process
        return
    if not out.isatty():
        print(_encodable(plain_text(blocks), out), file=out)
        return
    # Its import takes some 17 ms, which only those pay who see the result.
    from rich.console import Console

    console = Console(file=out)
    for block in blocks:
        if isinstance(block, Line):
            _show_line(block.text, _STYLES[block.mark], console, out)
        else:
            _show_table(block, console, out)


def _encodable(text: str, out: TextIO) -> str:
    """Text without what the stream's encoding lacks: a name in Japanese shall not end a summary in a traceback."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _show_line(text: str, style: str, console: Console, out: TextIO) -> None:
    """Between words a line breaks here; a word that is too long, such as a path, the terminal breaks by itself, so
    that it has no line feed inside when it is copied.
    """
    from rich.text import Text

    shown = _encodable(printable(text), out)
    for line in textwrap.wrap(shown, console.width, break_long_words=False, break_on_hyphens=False) or [""]:
        # Literal text: rich's markup in it has no meaning.
        console.print(Text(line, style), soft_wrap=True)


def _show_table(table: Table, console: Console, out: TextIO) -> None:
    head, *rows = [[_encodable(cell, out) for cell in row] for row in table.cells]
    room = console.width - _GAP * (len(head) - 1)
    natural = [_widest(column) for column in zip(head, *rows, strict=True)]
    # Titles over numbers break between words before anything else does.
    packed = [_widest([*title.split(), *column]) for title, *column in zip(head, *rows, strict=True)]
    least = [width if side == "r" else min(width, _NARROW) for width, side in zip(packed, table.align, strict=True)]
    if table.title:
        _show_line(table.title, "italic", console, out)
    if sum(least) > room:
        _show_paragraphs(table, head, rows, console)
    else:
        console.print(_rich_table(table, head, rows, natural if sum(natural) <= room else packed))


def _widest(column: Iterable[str]) -> int:
    """In characters of a terminal; at least 1, because rich takes 0 for "as it comes"."""
    from rich.cells import cell_len

    return max([1, *map(cell_len, column)])


def _rich_table(table: Table, head: list[str], rows: list[list[str]], widths: list[int]) -> RichTable:
    """Columns of numbers have their width; the others share what is left."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        box=box.SIMPLE_HEAD,
        # One space beside the divider's own.
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    for name, side, width in zip(head, table.align, widths, strict=True):
        if side == "r":
            drawn.add_column(Text(name), justify="right", width=width)
        else:
            drawn.add_column(Text(name), overflow="fold")
    for index, row in enumerate(rows):
        style = _STYLES["attention" if index in table.attention else "plain"]
        drawn.add_row(*(Text(cell, overflow="fold") for cell in row), style=style)
    return drawn


def _show_paragraphs(table: Table, head: list[str], rows: list[list[str]], console: Console) -> None:
    """Each row as its name, and under it what its other cells say."""
    from rich.padding import Padding
    from rich.text import Text

    named = table.align.find("l") + 1
    for index, row in enumerate(rows):
        style = _STYLES["attention" if index in table.attention else "plain"]
        console.print(Text(" ".join(filter(None, row[:named])), f"bold {style}", overflow="fold"))
        said = [f"{title} {cell}".strip() for title, cell in zip(head[named:], row[named:], strict=True) if cell]
        if said:
            console.print(Padding(Text("; ".join(said), style, overflow="fold"), (0, 0, 0, 2)))
