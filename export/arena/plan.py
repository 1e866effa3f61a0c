"""TFLite Micro's plan of what lies where in its arena, computed as its ``GreedyMemoryPlanner`` does.

Buffers are placed by falling size, and those of equal size from the last to the first: each into the first gap among
those that live at the same time. Source: ``memory_planner/greedy_memory_planner.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Buffer", "planned"]


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed for some time.

    Attributes:
        size: in bytes.
        first: the first step at which it is needed.
        last: the last one.
    """

    size: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at some step."""
        return self.first <= other.last and other.first <= self.last


def planned(buffers: Sequence[Buffer]) -> int:
    """Bytes that the plan takes, for buffers in the order in which they are handed to the planner."""
    order = sorted(range(len(buffers)), key=lambda index: (-buffers[index].size, -index))
    placed: list[tuple[int, Buffer]] = []
    for index in order:
        wanted = buffers[index]
        at = 0
        for offset, other in placed:
            if not wanted.meets(other):
                continue
            if offset - at >= wanted.size:
                break
            at = max(at, offset + other.size)
        # Behind all that begin at the same place.
        position = next((i for i, (offset, _) in enumerate(placed) if offset > at), len(placed))
        placed.insert(position, (at, wanted))
    return max((offset + buffer.size for offset, buffer in placed), default=0)
