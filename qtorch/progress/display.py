"""The one display of all stages that lie one inside another: a thread that paints them, and ends with them."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, TextIO

from qtorch.progress import rows
from qtorch.progress.rows import Extent
from qtorch.progress.surfaces import LineSurface, Surface, TerminalSurface

__all__ = ["Display"]


class Display:
    """What is shown from the beginning of an outermost stage to its end.

    Work never waits for it: it leaves how far it is in its stages, and the thread looks there.

    Attributes:
        stages: at work, the outermost first.
    """

    def __init__(self, surface: Surface) -> None:
        self.stages: list[Extent] = []
        self._surface, self._lock, self._over = surface, threading.RLock(), threading.Event()
        # Above 0 while others write where the bars are.
        self._hidden = 0
        self._whose = (os.getpid(), threading.get_ident())
        self._streams: list[tuple[str, _Above]] = []
        # A notebook knows by the context under which cell to show something.
        self._painter = threading.Thread(target=copy_context().run, args=(self._paint,), daemon=True)

    @property
    def is_of_here(self) -> bool:
        """Whether this process and thread began it: to others, as a loader's workers, it is nothing."""
        return self._whose == (os.getpid(), threading.get_ident())

    def begin(self) -> None:
        """Wait for a moment, then paint."""
        if isinstance(self._surface, TerminalSurface):
            for name in ("stdout", "stderr"):
                above = _Above(self, getattr(sys, name))
                setattr(sys, name, above)
                self._streams.append((name, above))
        try:
            self._painter.start()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Nothing is left: no bar, no thread."""
        self._over.set()
        try:
            if self._painter.ident is not None:
                self._painter.join()
        finally:
            for name, above in self._streams:
                # Who put something over it meanwhile and left it there has it still, and it passes on what it gets.
                if getattr(sys, name) is above:
                    setattr(sys, name, above.stream)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """A block in which others write where the bars are."""
        with self._lock:
            self._hidden += 1
            self._erase()
        try:
            yield
        finally:
            with self._lock:
                self._hidden -= 1

    def write_above(self, stream: TextIO, text: str) -> int:
        """What is printed while bars are there, as if there were none."""
        if self._whose[0] != os.getpid():
            # A process that was forked has no bars, and may have been while the lock was held.
            return stream.write(text)
        with self._lock:
            self._erase()
            written = stream.write(text)
            stream.flush()
            return written

    def _paint(self) -> None:
        if self._over.wait(rows.MOMENT):
            return
        try:
            # A terminal that was closed meanwhile is no reason to end the work.
            with suppress(OSError, ValueError):
                self._draw()
                while self._surface.every is not None and not self._over.wait(self._surface.every):
                    self._draw()
        finally:
            with self._lock:
                self._erase()

    def _draw(self) -> None:
        with self._lock:
            if not self._hidden and not any(above.unfinished for _, above in self._streams):
                # What is said once is said of the whole.
                shown = self.stages[:1] if isinstance(self._surface, LineSurface) else tuple(self.stages)
                self._surface.draw(rows.rows(shown, time.monotonic()))

    def _erase(self) -> None:
        with suppress(OSError, ValueError):
            self._surface.erase()


class _Above:
    """A stream of a terminal that has bars: what is written stands above them.

    Attributes:
        unfinished: whether the last line has no end yet, so that no bar can stand below it.
    """

    def __init__(self, display: Display, stream: TextIO) -> None:
        self.display, self.stream, self.unfinished = display, stream, False

    def write(self, text: str) -> int:
        if text:
            self.unfinished = not text.endswith("\n")
        return self.display.write_above(self.stream, text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
