"""What an export is doing, as is shown while it does it, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qtorch.progress import Stage, numbered, stage

__all__ = ["Phases"]


@dataclass(frozen=True)
class Phases:
    """The phases of one export.

    Attributes:
        count: of them.
        seconds: by name, of those that are timed.
    """

    count: int
    seconds: dict[str, float]

    def together(self) -> Stage:
        """A block that all of them lie directly in, so that each is shown with its number."""
        return numbered("exporting", self.count)

    @contextmanager
    def __call__(self, words: str, timed: str = "") -> Iterator[None]:
        """A block that is one phase.

        Args:
            words: what is being done, beginning with a verb in -ing.
            timed: adds its seconds under this name.
        """
        started = time.perf_counter()
        with stage(words):
            yield
        if timed:
            self.seconds[timed] = self.seconds.get(timed, 0.0) + time.perf_counter() - started
