"""What is shown of stages that lie one inside another: a row for each whose end is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["MOMENT", "Extent", "Row", "rows"]

#: Seconds that nobody wonders about.
MOMENT = 1.0


class Extent(Protocol):
    """How far a stage is.

    Attributes:
        words: what is being done.
        total: steps in all; ``None`` if nobody knows.
        done: steps that are over.
        numbers: whether its steps are the stages directly inside it.
        began: seconds of :func:`time.monotonic`.
    """

    words: str
    total: int | None
    done: int
    numbers: bool
    began: float


@dataclass(frozen=True)
class Row:
    """One row of a display.

    Attributes:
        words: what is being done.
        done: steps that are over, at most ``total``.
        total: steps in all, at least 1; ``None`` if nobody knows.
        seconds: since it began.
    """

    words: str
    done: int
    total: int | None
    seconds: float

    @property
    def percent(self) -> str:
        """Of the steps, rounded down, so that 100 % is the end; empty if nobody knows."""
        return "" if self.total is None else f"{100 * self.done // self.total}%"


def rows(stages: Sequence[Extent], now: float) -> tuple[Row, ...]:
    """Rows for stages, the outermost first.

    A stage without a known end shares the row of the first inside it that has one. Inside the outermost, a stage is
    shown once it has lasted :data:`MOMENT`; one that is a numbered step at once, with its number.
    """
    shown: list[Row] = []
    waiting: list[Extent] = []
    around: Extent | None = None
    for depth, each in enumerate(stages):
        if around is not None:
            shown.append(_row(f"{min(around.done + 1, around.total or 1)}/{around.total} {each.words}", around, now))
            around = None
            if each.total is None and not each.numbers:
                continue
        elif depth and now - each.began < MOMENT:
            break
        if each.numbers:
            around = each
        else:
            waiting.append(each)
            if each.total:
                shown.append(_row(": ".join(stage.words for stage in waiting), each, now))
                waiting = []
    if around is not None:
        shown.append(_row(around.words, around, now))
    if waiting:
        words = ": ".join(stage.words for stage in waiting)
        shown.append(Row(words, 0, None, now - waiting[0].began))
    return tuple(shown)


def _row(words: str, extent: Extent, now: float) -> Row:
    total = max(1, extent.total or 1)
    return Row(words, min(extent.done, total), total, now - extent.began)
