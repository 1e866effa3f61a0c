"""Where tensors lie in working memory: bytes that are needed at the same time apart, others on top of each other.

A tensor that is made or given up row by row needs only part of its bytes at a time. So it may reach into what another
one no longer needs: what a :class:`Buffer` holds, step by step, says how far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Buffer", "MemoryPlan", "aligned", "distances", "lower_bound", "lowest_free", "plan"]


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed from step ``first`` to step ``last``, both included.

    Attributes:
        name: of its own.
        size: bytes.
        first: step.
        last: step.
        held: of a buffer that is not needed as a whole all the time: which bytes are, int ``[last - first + 1, 2]``,
            from the first to the one behind the last; none where these are equal.
    """

    name: str
    size: int
    first: int
    last: int
    held: np.ndarray | None = field(default=None, compare=False)

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed in one step."""
        return self.below(other) is not None

    def bytes_held(self, first: int, last: int) -> np.ndarray:
        """Which bytes are needed in these steps, as :attr:`held`."""
        if self.held is None:
            return np.broadcast_to(np.array([0, self.size]), (last - first + 1, 2))
        return self.held[first - self.first : last - self.first + 1]

    def sizes(self) -> np.ndarray:
        """How many bytes are needed in each of its steps."""
        held = self.bytes_held(self.first, self.last)
        return held[:, 1] - held[:, 0]

    def below(self, other: Buffer) -> int | None:
        """How many bytes this one has to begin before another that lies behind it; ``None``: they never meet."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        if first > last:
            return None
        if self.held is None and other.held is None:
            return self.size
        mine, others = self.bytes_held(first, last), other.bytes_held(first, last)
        both = (mine[:, 0] < mine[:, 1]) & (others[:, 0] < others[:, 1])
        return int((mine[:, 1] - others[:, 0])[both].max()) if both.any() else None


@dataclass(frozen=True)
class MemoryPlan:
    """Where everything lies.

    Attributes:
        offsets: in bytes, by the buffers' names.
        peak: bytes that they take in all.
        fast: of a plan of two memories, how many of the bytes are the fast one's; those behind are the slow one's.
    """

    offsets: Mapping[str, int]
    peak: int
    fast: int | None = None


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Bytes that no plan can do without: the largest sum of what is needed in one step."""
    if not buffers:
        return 0
    needed = np.zeros(max(buffer.last for buffer in buffers) + 1, np.int64)
    for buffer in buffers:
        needed[buffer.first : buffer.last + 1] += buffer.sizes()
    return int(needed.max())


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

    Buffers that are given up or made row by row are tried from the other end of memory too, so that what is made can
    follow what is given up.

    Args:
        buffers: names are distinct.
        alignment: of every offset, in bytes.
    """
    apart = distances(buffers)
    plans = [_placed(sorted(buffers, key=order), apart, alignment) for order in _ORDERS]
    if any(buffer.held is not None for buffer in buffers):
        sizes = {buffer.name: aligned(buffer.size, alignment) for buffer in buffers}
        mirrored = {
            (upper, lower): apart_by + sizes[upper] - sizes[lower] for (lower, upper), apart_by in apart.items()
        }
        for order in _ORDERS:
            found = _placed(sorted(buffers, key=order), mirrored, alignment).offsets
            top = max(found[name] + size for name, size in sizes.items())
            offsets = {name: top - found[name] - size for name, size in sizes.items()}
            plans.append(MemoryPlan(offsets, max(offsets[b.name] + b.size for b in buffers)))
    return min(plans, key=lambda candidate: candidate.peak)


#: By two names: how many bytes the first has to begin before the second where it lies below.
_Apart = Mapping[tuple[str, str], int]


def distances(buffers: Sequence[Buffer]) -> _Apart:
    """Of every two buffers that meet, in either order, how many bytes the first has to begin before the second."""
    found = {}
    waiting: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: b.first):
        waiting = [other for other in waiting if other.last >= buffer.first]
        for other in waiting:
            if (distance := buffer.below(other)) is not None:
                back = other.below(buffer)
                assert back is not None
                found[buffer.name, other.name], found[other.name, buffer.name] = distance, back
        waiting.append(buffer)
    return found


def _placed(buffers: Sequence[Buffer], apart: _Apart, alignment: int) -> MemoryPlan:
    offsets: dict[str, int] = {}
    for buffer in buffers:
        offsets[buffer.name] = lowest_free(buffer, offsets, apart, alignment)
    peak = max((offsets[buffer.name] + buffer.size for buffer in buffers), default=0)
    return MemoryPlan(offsets, peak)


def lowest_free(buffer: Buffer, offsets: Mapping[str, int], apart: _Apart, alignment: int = 4) -> int:
    """The lowest offset at which a buffer meets none of those that are placed."""
    taken = []
    for name, offset in offsets.items():
        if (behind := apart.get((name, buffer.name))) is not None:
            taken.append((offset - apart[buffer.name, name], offset + behind))
    start = 0
    for before, behind in sorted(taken):
        if start <= before:
            break
        start = max(start, aligned(behind, alignment))
    return start


def aligned(number: int, alignment: int = 4) -> int:
    """The next multiple, upwards."""
    return -(-number // alignment) * alignment
