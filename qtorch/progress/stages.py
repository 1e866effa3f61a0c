"""What long work says of itself: what it does, and how far it is. Nobody has to listen.

It is shown once it has lasted a second: in a terminal as bars on stderr, in a notebook under the cell. Elsewhere, and
with ``QTORCH_PROGRESS=0`` in the environment, nothing is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TextIO, TypeVar

import torch

from qtorch.progress.display import Display
from qtorch.progress.surfaces import (
    LineSurface,
    NotebookSurface,
    Surface,
    TerminalSurface,
    is_notebook,
    is_terminal,
)

__all__ = ["Stage", "hidden", "in_lines", "numbered", "quiet", "stage", "steps"]

T = TypeVar("T")

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)
#: Where lines are said if there is no place for bars: gives the file.
_LINES: ContextVar[Callable[[], TextIO | None] | None] = ContextVar("lines", default=None)
#: What tells a process of several which it is.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
#: The display that is there, if one is.
_DISPLAYS: list[Display] = []


class Stage:
    """A block of work that says how far it is.

    Attributes:
        words: what is being done, beginning with a verb in -ing, or what it is done to inside such a stage.
        total: steps in all; ``None`` if nobody knows.
        done: steps that are over.
        numbers: whether its steps are the stages directly inside it.
        began: seconds of :func:`time.monotonic`.
    """

    __slots__ = ("_display", "began", "done", "numbers", "total", "words")

    def __init__(self, words: str, total: int | None = None, numbers: bool = False) -> None:
        self.words, self.total, self.numbers, self.done = words, total, numbers, 0
        self.began = 0.0
        self._display: Display | None = None

    def advance(self, count: int = 1) -> None:
        """``count`` more steps are over; costs an addition, and belongs behind a batch rather than a sample."""
        self.done += count

    def __enter__(self) -> Stage:
        self.began = time.monotonic()
        if _QUIET.get():
            return self
        if not _DISPLAYS:
            surface = _surface()
            # A line for each of its steps is enough.
            if surface is None or (self.numbers and isinstance(surface, LineSurface)):
                return self
            _DISPLAYS.append(Display(surface))
            self._display = _DISPLAYS[0]
            self._display.stages.append(self)
            try:
                self._display.begin()
            except BaseException:
                _DISPLAYS.clear()
                raise
        elif _DISPLAYS[0].is_of_here:
            self._display = _DISPLAYS[0]
            self._display.stages.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        display, self._display = self._display, None
        if display is None or self not in display.stages:
            return
        index = display.stages.index(self)
        # Those inside are over with it, whoever forgot to close them.
        del display.stages[index:]
        if index:
            around = display.stages[-1]
            around.done += around.numbers
        else:
            _DISPLAYS.remove(display)
            display.end()


def stage(words: str, total: int | None = None) -> Stage:
    """A block of work, shown once it has lasted a second.

    Example:
        >>> with stage("reading recordings", total=len(files)) as progress:
        ...     for file in files:
        ...         read(file)
        ...         progress.advance()

    Args:
        words: what is being done, beginning with a verb in -ing, or what it is done to inside such a stage.
        total: steps in all; ``None`` if nobody knows.
    """
    return Stage(words, total)


def steps(iterable: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """The elements of ``iterable``, each a step of a stage.

    Args:
        iterable: of anything.
        words: see :func:`stage`.
        total: how many; ``len(iterable)`` if that is known and ``total`` is ``None``.
    """
    if total is None:
        # Loaders of streams have a length that says that it is none.
        with suppress(TypeError, NotImplementedError):
            total = len(iterable)  # type: ignore[arg-type]
    with stage(words, total) as progress:
        for element in iterable:
            yield element
            progress.advance()


def numbered(words: str, total: int) -> Stage:
    """A block whose steps are the stages directly inside it: "3/9 comparing ...".

    Args:
        words: what is being done in all, shown between two of them.
        total: how many they are.
    """
    return Stage(words, total, numbers=True)


@contextmanager
def quiet() -> Iterator[None]:
    """A block in which no progress is shown, because somebody else shows it or nobody wants it.

    Example:
        >>> with qtorch.progress.quiet():
        ...     qtorch.calibrate(qat, batches)
    """
    before = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(before)


@contextmanager
def in_lines(file: TextIO | None = None) -> Iterator[None]:
    """A block whose stages are said where no bar can move: a line for each outermost one that lasts a second.

    Args:
        file: stderr if ``None``, so that what a program reads from stdout stays as it is.
    """
    before = _LINES.set(lambda: sys.stderr if file is None else file)
    try:
        yield
    finally:
        _LINES.reset(before)


@contextmanager
def hidden() -> Iterator[None]:
    """A block in which something writes to the terminal by itself, past Python: bars are away for so long."""
    if not _DISPLAYS or not _DISPLAYS[0].is_of_here:
        yield
        return
    with _DISPLAYS[0].hidden():
        yield


def _surface() -> Surface | None:
    """Who shows the progress that begins now; ``None`` if nobody does."""
    if os.environ.get("QTORCH_PROGRESS") == "0" or not _is_first():
        return None
    if is_notebook():
        return NotebookSurface()
    if sys.stderr is not None and is_terminal(sys.stderr):
        return TerminalSurface(sys.stderr)
    lines = _LINES.get()
    file = None if lines is None else lines()
    return None if file is None else LineSurface(file)


def _is_first() -> bool:
    """Whether this is the process of a distributed run that speaks for all."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)
