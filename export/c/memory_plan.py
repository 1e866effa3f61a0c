"""Where tensors lie in working memory: bytes that are needed at the same time apart, others on top of each other.

A tensor that is made or given up row by row needs only part of its bytes at a time. So it may reach into what another
one no longer needs: what a :class:`Buffer` holds, step by step, says how far.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from export.arena.placement import ORDERS

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
        return self.apart(other) is not None

    def bytes_held(self, first: int, last: int) -> np.ndarray:
        """Which bytes are needed in these steps, as :attr:`held`."""
        if self.held is None:
            return np.broadcast_to(np.array([0, self.size]), (last - first + 1, 2))
        return self.held[first - self.first : last - self.first + 1]

    def sizes(self) -> np.ndarray:
        """How many bytes are needed in each of its steps."""
        held = self.bytes_held(self.first, self.last)
        return held[:, 1] - held[:, 0]

    def apart(self, other: Buffer) -> tuple[int, int] | None:
        """How many bytes this one has to begin before another that lies behind it, and that one before this one.

        ``None``: they never meet.
        """
        first, last = max(self.first, other.first), min(self.last, other.last)
        if first > last:
            return None
        if self.held is None and other.held is None:
            return self.size, other.size
        low, high = self.bytes_held(first, last).T
        other_low, other_high = other.bytes_held(first, last).T
        both = (low < high) & (other_low < other_high)
        if not both.any():
            return None
        return int((high - other_low)[both].max()), int((other_high - low)[both].max())


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


#: Neighbours that are looked at in search of a better order, at most: a bound of the work, the same on every machine.
_LOOKS = 40_000


def plan(buffers: Sequence[Buffer], alignment: int = 4) -> MemoryPlan:
    """Places each buffer at the lowest address that is free as long as it is needed, in several orders.

    Buffers that are given up or made row by row are tried from the other end of memory too, so that what is made can
    follow what is given up. Where the best order takes more than can't be done without, what lies topmost is placed
    earlier, or anything elsewhere, again and again, as long as a bounded search lasts.

    Args:
        buffers: names are distinct.
        alignment: of every offset, in bytes.
    """
    sizes = {buffer.name: aligned(buffer.size, alignment) for buffer in buffers}
    apart = distances(buffers)
    ways = [(apart, False)]
    if any(buffer.held is not None for buffer in buffers):
        ways.append((_mirrored(apart, sizes), True))
    bound, plans = lower_bound(buffers), list[MemoryPlan]()
    for neighbours, from_above in ways:
        orders = [sorted(buffers, key=order) for order in ORDERS]
        first = [_placed(order, neighbours, alignment) for order in orders]
        best = min(range(len(orders)), key=lambda index: first[index].peak)
        found = [*first, *_searched(orders[best], first[best], neighbours, alignment, bound)]
        plans += [_upside_down(each, buffers, sizes) for each in found] if from_above else found
    return min(plans, key=lambda candidate: candidate.peak)


def _searched(
    order: Sequence[Buffer], found: MemoryPlan, apart: _Apart, alignment: int, bound: int
) -> Iterator[MemoryPlan]:
    """Plans that take less and less."""
    rng, order = random.Random(0), list(order)
    each = sum(map(len, apart.values())) + len(order)
    for turn in range(_LOOKS // max(each, 1)):
        if found.peak <= bound:
            return
        # Every other time any buffer moves, anywhere. random() alone is the same in every version of Python.
        candidates: Sequence[int] = range(len(order))
        if turn % 2 == 0:
            candidates = [i for i, b in enumerate(order) if i and found.offsets[b.name] + b.size == found.peak]
        if not candidates:
            continue
        moved = candidates[int(rng.random() * len(candidates))]
        other = order.copy()
        other.insert(int(rng.random() * (len(order) if turn % 2 else moved)), other.pop(moved))
        tried = _placed(other, apart, alignment)
        if tried.peak <= found.peak:
            if tried.peak < found.peak:
                yield tried
            order, found = other, tried


def _upside_down(found: MemoryPlan, buffers: Sequence[Buffer], sizes: Mapping[str, int]) -> MemoryPlan:
    """The plan whose addresses were counted from above."""
    top = max(found.offsets[name] + size for name, size in sizes.items())
    offsets = {name: top - found.offsets[name] - size for name, size in sizes.items()}
    return MemoryPlan(offsets, max(offsets[b.name] + b.size for b in buffers))


#: Of each buffer those that are needed at the same time, and how many bytes it has to begin before one of them where it
#: lies below, and that one before it.
_Apart = Mapping[str, Sequence[tuple[str, int, int]]]


def distances(buffers: Sequence[Buffer]) -> _Apart:
    """Of each buffer those that it meets, and how far apart they have to begin."""
    found: dict[str, list[tuple[str, int, int]]] = {buffer.name: [] for buffer in buffers}
    waiting: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: b.first):
        waiting = [other for other in waiting if other.last >= buffer.first]
        for other in waiting:
            if (bytes_apart := buffer.apart(other)) is not None:
                before, behind = bytes_apart
                found[buffer.name].append((other.name, before, behind))
                found[other.name].append((buffer.name, behind, before))
        waiting.append(buffer)
    return found


def _mirrored(apart: _Apart, sizes: Mapping[str, int]) -> _Apart:
    """The same with addresses counted from the other end."""
    return {
        name: [
            (other, above + sizes[name] - sizes[other], below + sizes[other] - sizes[name])
            for other, below, above in others
        ]
        for name, others in apart.items()
    }


def _placed(buffers: Sequence[Buffer], apart: _Apart, alignment: int) -> MemoryPlan:
    offsets: dict[str, int] = {}
    for buffer in buffers:
        offsets[buffer.name] = lowest_free(buffer, offsets, apart, alignment)
    peak = max((offsets[buffer.name] + buffer.size for buffer in buffers), default=0)
    return MemoryPlan(offsets, peak)


def lowest_free(buffer: Buffer, offsets: Mapping[str, int], apart: _Apart, alignment: int = 4) -> int:
    """The lowest offset at which a buffer meets none of those that are placed."""
    taken = [
        (offsets[name] - below, offsets[name] + above) for name, below, above in apart[buffer.name] if name in offsets
    ]
    start = 0
    for before, behind in sorted(taken):
        if start <= before:
            break
        start = max(start, aligned(behind, alignment))
    return start


def aligned(number: int, alignment: int = 4) -> int:
    """The next multiple, upwards."""
    return -(-number // alignment) * alignment
