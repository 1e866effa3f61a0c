"""Where progress is shown: bars in a terminal, in a notebook, or one line in what can't move."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from qtorch.progress.rows import Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

__all__ = ["LineSurface", "NotebookSurface", "Surface", "TerminalSurface", "is_notebook", "is_terminal"]

#: Columns of a bar, of a share and of a time, and between them.
_BAR, _SHARE, _TIME, _GAP = 24, 4, 7, 1


class Surface(Protocol):
    """Where rows are drawn, by one thread.

    Attributes:
        every: seconds between two drawings; ``None`` if a drawing stays as it is.
    """

    every: float | None

    def draw(self, rows: Sequence[Row]) -> None:
        """These rows in place of those before."""

    def erase(self) -> None:
        """Nothing in their place, until they are drawn again."""


def is_terminal(file: TextIO | None) -> bool:
    """Whether lines that were written to ``file`` can be written over."""
    return file is not None and file.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def is_notebook() -> bool:
    """Whether a kernel runs this, whose front end shows what is displayed."""
    # Whoever runs in one has imported it.
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and getattr(ask(), "kernel", None) is not None


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _printable(words: str) -> str:
    """Names of layers are other people's."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def _encodable(words: str, file: TextIO) -> str:
    encoding = getattr(file, "encoding", None) or "utf-8"
    return _printable(words).encode(encoding, "backslashreplace").decode(encoding)


class TerminalSurface:
    """Bars at the cursor of a terminal, with rich, which is imported when the first is drawn."""

    every: float | None = 0.1

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self._console: Console | None = None
        self._live: Live | None = None

    def draw(self, rows: Sequence[Row]) -> None:
        """See :class:`Surface`."""
        from rich.console import Console
        from rich.live import Live

        if self._console is None:
            self._console = Console(file=self.file, force_terminal=True, force_interactive=True, force_jupyter=False)
        table = self._table(rows, self._console.width)
        if self._live is None:
            # What is printed meanwhile goes where it went: the display sees to it by itself.
            self._live = Live(
                table, console=self._console, auto_refresh=False, transient=True, redirect_stdout=False,
                redirect_stderr=False,
            )  # fmt: skip
            self._live.start()
        self._live.update(table, refresh=True)
        self.file.flush()

    def erase(self) -> None:
        """See :class:`Surface`."""
        if self._live is not None:
            # Gives the cursor back, too.
            self._live.stop()
            # Another, because it would go up from where it was.
            self._live = None
            self.file.flush()

    def _table(self, rows: Sequence[Row], width: int) -> Table:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        figures = _SHARE + _TIME + 3 * _GAP
        bar = min(_BAR, max(1, width - figures - 1))
        # Words last, so that what comes and goes in them moves no bar.
        table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        for column in (bar, _SHARE, _TIME):
            table.add_column(width=column, justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        for depth, row in enumerate(rows):
            words = Text("  " * depth + _encodable(row.words, self.file))
            words.truncate(max(1, width - bar - figures), overflow="crop")
            shown = ProgressBar(total=row.total, completed=row.done, width=bar, pulse=row.total is None)
            table.add_row(shown, row.percent, _time(row.seconds), words)
        return table


class NotebookSurface:
    """Bars under a notebook's cell; a browser has them, so no package of widgets is needed."""

    every: float | None = 0.25

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = ""

    def draw(self, rows: Sequence[Row]) -> None:
        """See :class:`Surface`."""
        self._show("".join(map(_html_of, rows)))

    def erase(self) -> None:
        """See :class:`Surface`."""
        if self._handle is not None:
            self._show("")

    def _show(self, text: str) -> None:
        if text == self._shown:
            return
        self._shown, content = text, {"text/html": text, "text/plain": ""}
        if self._handle is None:
            from IPython.display import display

            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _html_of(row: Row) -> str:
    extent = "" if row.total is None else f' value="{row.done}" max="{row.total}"'
    words = html.escape(_printable(row.words))
    return f"<div><progress{extent}></progress> {row.percent} {words} ({_time(row.seconds)})</div>"


class LineSurface:
    """One line, for a pipe or a file: what the outermost stage does."""

    every: float | None = None

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def draw(self, rows: Sequence[Row]) -> None:
        """See :class:`Surface`."""
        for row in rows[:1]:
            print(_encodable(f"{row.words} ...", self.file), file=self.file, flush=True)

    def erase(self) -> None:
        """A line stays."""
