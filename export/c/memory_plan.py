"""Where tensors lie in working memory: those that are needed at the same time apart, others on top of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Buffer", "MemoryPlan", "lower_bound", "plan"]


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed from step ``first`` to step ``last``, both included."""

    name: str
    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed in one step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Byte offsets by the buffers' names, and the bytes that they take in all."""

    offsets: Mapping[str, int]
    peak: int


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Bytes that no plan can do without: the largest sum of what is needed in one step."""
    steps = {buffer.first for buffer in buffers}
    return max((sum(b.size for b in buffers if b.first <= step <= b.last) for step in steps), default=0)


#: Orders in which buffers are placed; the best result counts. Large ones first is what usually succeeds.
_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.size, b.first),
    lambda b: (-b.size, -b.last),
    lambda b: (b.first, -b.size),
    lambda b: (-b.last, -b.size),
    lambda b: (b.first - b.last, -b.size),
    lambda b: (-b.size * (b.last - b.first + 1), b.first),
)


def plan(buffers: Sequence[Buffer], alignment: int = 4) -> MemoryPlan:
    """Places each buffer at the lowest address that is free as long as it is needed, in several orders.

    Args:
        buffers: names are distinct.
        alignment: of every offset, in bytes.
    """
    plans = (_placed(sorted(buffers, key=order), alignment) for order in _ORDERS)
    return min(plans, key=lambda candidate: candidate.peak)


def _placed(buffers: Sequence[Buffer], alignment: int) -> MemoryPlan:
    placed: list[tuple[int, Buffer]] = []
    for buffer in buffers:
        start = 0
        for offset, other in sorted(((o, b) for o, b in placed if b.overlaps(buffer)), key=lambda pair: pair[0]):
            if start + buffer.size <= offset:
                break
            start = max(start, -(-(offset + other.size) // alignment) * alignment)
        placed.append((start, buffer))
    peak = max((offset + buffer.size for offset, buffer in placed), default=0)
    return MemoryPlan({buffer.name: offset for offset, buffer in placed}, peak)
