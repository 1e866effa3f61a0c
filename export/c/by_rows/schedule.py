"""The order of rows in a section, and which rows of each tensor are needed at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from export.c.by_rows.section import Section
from qtorch.row.image_rows import RowWindow

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
    turns = np.array(order)[:, None] == np.arange(len(section.nodes))
    behind = turns.cumsum(0)
    before = behind - turns
    readers: dict[str, list[tuple[int, RowWindow]]] = {name: [] for name in section.rows}
    for place, node in enumerate(section.nodes):
        for name, window in node.reads.values():
            readers[name].append((place, window))
    totals = behind[-1]
    needed = {}
    for name, rows in section.rows.items():
        needed[name] = ends = np.zeros((len(order), 2), np.int64)
        ends[:, 1] = rows
        maker = section.makers.get(name)
        if maker is not None:
            steps, node = behind[:, maker], section.nodes[maker]
            ends[:, 1] = steps == node.steps if node.adds_up else steps
        if name in section.kept or (maker is None and name not in section.given_up):
            continue
        # Rows are given up behind the step that was the last to read them.
        ends[:, 0] = _unneeded(rows, readers[name], before, totals)
        if maker is not None:
            ends[:, 0] *= before[:, maker] > 0
            # Windows that leave out rows need not all that are made, but each is written somewhere.
            made = turns[:, maker]
            ends[made, 0] = np.minimum(ends[made, 0], np.maximum(ends[made, 1] - 1, 0))
    return Schedule(tuple(order), tuple(totals.tolist()), needed)


def _unneeded(rows: int, readers: list[tuple[int, RowWindow]], steps: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """How many rows from the first on nobody needs any more, by steps ``[N, nodes]``: int ``[N]``."""
    found = np.full(len(steps), rows)
    for place, window in readers:
        first = np.maximum((steps[:, place] * window.stride - window.padding) // window.per, 0)
        found = np.where(steps[:, place] < totals[place], np.minimum(found, first), found)
    return found


def _order(section: Section) -> list[int]:
    steps, order = [0] * len(section.nodes), list[int]()

    def make(place: int, wanted: int) -> None:
        node = section.nodes[place]
        while node.made(steps[place]) < wanted:
            for name, window in node.reads.values():
                if name in section.makers:
                    rows = section.rows[name]
                    until = window.first(steps[place]) + window.window if window.stride else rows
                    make(section.makers[name], min(until, rows))
            steps[place] += 1
            order.append(place)

    # Rows of the others that nothing asks for are not made: a window with strides may end before them.
    for place in sorted({section.makers[name] for name in section.kept}, reverse=True):
        make(place, section.nodes[place].rows)
    return order
