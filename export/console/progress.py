"""What a command is doing, while it takes longer than a moment: one line for each stage, on stderr, pipe or not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO, TypeAlias

from export.console.page import Line
from export.console.terminal import show

__all__ = ["MOMENT", "Stage", "silent", "told"]

#: Seconds that nobody wonders about.
MOMENT = 1.0

#: Encloses what belongs to a stage, given its words.
Stage: TypeAlias = Callable[[str], AbstractContextManager[None]]


def silent(_words: str) -> AbstractContextManager[None]:
    """A stage that nobody hears of."""
    return nullcontext()


@contextmanager
def told(words: str, file: TextIO | None = None) -> Iterator[None]:
    """A stage that is named once it has lasted :data:`MOMENT`, while it is at work; one that is over by then is not.

    Args:
        words: what is being done, beginning with a verb in -ing.
        file: stderr if ``None``, so that what a program reads from stdout stays as it is.
    """
    over, printing = threading.Event(), threading.Lock()

    def say() -> None:
        with printing:
            if not over.is_set():
                show([Line(f"{words} ...")], sys.stderr if file is None else file)

    timer = threading.Timer(MOMENT, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # A line is whole before the next begins, and comes from no stage that is over.
        with printing:
            over.set()
