"""What an export is doing, as somebody is told, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from export.console.progress import Stage

__all__ = ["Phases"]


@dataclass(frozen=True)
class Phases:
    """The phases of one export.

    Attributes:
        stage: told of each; see :func:`export.console.progress.told`.
        seconds: by name, of those that are timed.
    """

    stage: Stage
    seconds: dict[str, float]

    @contextmanager
    def __call__(self, words: str, timed: str = "") -> Iterator[None]:
        """A block that is one phase.

        Args:
            words: what is being done, beginning with a verb in -ing.
            timed: adds its seconds under this name.
        """
        started = time.perf_counter()
        with self.stage(words):
            yield
        if timed:
            self.seconds[timed] = self.seconds.get(timed, 0.0) + time.perf_counter() - started
