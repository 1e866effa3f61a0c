"""The order of rows in a section, and which rows of each tensor are needed at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from export.c.by_rows.section import Section

__all__ = ["Schedule", "scheduled"]


@dataclass(frozen=True)
class Schedule:
    """What is done when.

    Attributes:
        order: positions of the section's nodes, each of which makes its next row then.
        totals: how many steps each node has, by its position.
        needed: by tensor, int ``[steps, 2]``: its first row that is still needed, and the one behind the last that is
            there, while that step is done; the row that it makes among them, needed or not.
    """

    order: tuple[int, ...]
    totals: tuple[int, ...]
    needed: Mapping[str, np.ndarray]

    def most_rows(self, name: str) -> int:
        """How many rows of a tensor are needed at once."""
        rows = self.needed[name]
        return int((rows[:, 1] - rows[:, 0]).max())


def scheduled(section: Section) -> Schedule:
    """Each row is made when the next row behind it needs it, and no sooner."""
    order = _order(section)
    steps = np.zeros(len(section.nodes), np.int64)
    readers: dict[str, list[tuple[int, int, int]]] = {name: [] for name in section.rows}
    for place, node in enumerate(section.nodes):
        for name, window in node.reads.values():
            readers[name].append((place, window.stride, window.padding))
    totals = [order.count(place) for place in range(len(section.nodes))]
    needed = {name: np.zeros((len(order), 2), np.int64) for name in section.rows}
    # What changes with a step is what its node reads and makes; the rest is as it was.
    now = {name: [0, 0 if name in section.makers else rows] for name, rows in section.rows.items()}
    for step, place in enumerate(order):
        node = section.nodes[place]
        steps[place] += 1
        made = [name for name, maker in section.makers.items() if maker == place]
        for name in made:
            now[name][1] = node.made(int(steps[place]))
        for name, ends in now.items():
            needed[name][step] = ends
        for name in made:
            # Windows that leave out rows need not all that are made, but each is written somewhere.
            needed[name][step, 0] = min(now[name][0], max(now[name][1] - 1, 0))
        # Rows are given up behind the step that was the last to read them.
        for name in {name for name, _ in node.reads.values()} | set(made):
            if name not in section.kept and (name in section.makers or name in section.given_up):
                now[name][0] = _unneeded(section.rows[name], readers[name], steps, totals)
    return Schedule(tuple(order), tuple(totals), needed)


def _unneeded(rows: int, readers: list[tuple[int, int, int]], steps: np.ndarray, totals: list[int]) -> int:
    """How many rows from the first on nobody needs any more."""
    found = rows
    for place, stride, padding in readers:
        if steps[place] < totals[place]:
            found = min(found, max(0, int(steps[place]) * stride - padding))
    return found


def _order(section: Section) -> list[int]:
    steps, order = [0] * len(section.nodes), list[int]()

    def make(place: int, rows: int) -> None:
        node = section.nodes[place]
        while node.made(steps[place]) < rows:
            for name, window in node.reads.values():
                if name in section.makers:
                    until = window.first(steps[place]) + window.window
                    make(section.makers[name], min(until, section.rows[name]))
            steps[place] += 1
            order.append(place)

    # Rows of the others that nothing asks for are not made: a window with strides may end before them.
    for place in sorted({section.makers[name] for name in section.kept}, reverse=True):
        make(place, section.nodes[place].rows)
    return order
