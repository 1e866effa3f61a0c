"""TFLite Micro's plan of what lies where in its arena, computed as its ``GreedyMemoryPlanner`` does.

What a file says of offsets comes first, as it is. The rest is placed by falling size, and what is of equal size from
the last to the first: each into the first gap among those that live at the same time. Source:
``memory_planner/greedy_memory_planner.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Buffer", "peak", "placed", "planned"]


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed for some time.

    Attributes:
        size: in bytes.
        first: the first step at which it is needed.
        last: the last one.
        offset: where it has to lie; ``None`` where the planner may choose.
    """

    size: int
    first: int
    last: int
    offset: int | None = None

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at some step."""
        return self.first <= other.last and other.first <= self.last


def placed(buffers: Sequence[Buffer]) -> list[int]:
    """Where each of them lies, for buffers in the order in which they are handed to the planner."""
    fixed = [index for index, each in enumerate(buffers) if each.offset is not None]
    free = [index for index, each in enumerate(buffers) if each.offset is None]
    offsets = [0] * len(buffers)
    lying: list[tuple[int, Buffer]] = []
    for index in (*fixed, *sorted(free, key=lambda index: (-buffers[index].size, -index))):
        wanted = buffers[index]
        at = wanted.offset
        if at is None:
            at = _first_gap(wanted, lying)
        # Behind all that begin at the same place.
        position = next((i for i, (offset, _) in enumerate(lying) if offset > at), len(lying))
        lying.insert(position, (at, wanted))
        offsets[index] = at
    return offsets


def _first_gap(wanted: Buffer, lying: Sequence[tuple[int, Buffer]]) -> int:
    at = 0
    for offset, other in lying:
        if not wanted.meets(other):
            continue
        if offset - at >= wanted.size:
            break
        at = max(at, offset + other.size)
    return at


def peak(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    """Bytes that they take where they lie."""
    return max((at + buffer.size for at, buffer in zip(offsets, buffers, strict=True)), default=0)


def planned(buffers: Sequence[Buffer]) -> int:
    """Bytes that the plan takes, for buffers in the order in which they are handed to the planner."""
    return peak(buffers, placed(buffers))
