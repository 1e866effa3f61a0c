"""A better plan of working memory than a greedy one: searched by the same steps on every machine.

Which buffer is placed first decides what a plan takes, where each is placed into the lowest gap. So the search is one
for an order: several by rule, then the best of them is changed among what its highest buffer rests upon, and kept if it
takes no more (hill climbing, as Arm's Vela does it). It ends at the bound that no plan of whole buffers can go below,
or when it has done its work; work is counted in pairs of buffers, not in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from export.arena.plan import Buffer

__all__ = ["ORDERS", "WORK", "lower_bound", "searched"]

#: Pairs of buffers that are looked at, at most: a second or so.
WORK = 1_500_000
#: Of an order, at most.
_CHANGES = 2_000


class Needed(Protocol):
    """Memory of a size that is needed from a first step to a last one."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def first(self) -> int:
        """Step."""

    @property
    def last(self) -> int:
        """Step, included."""


#: Orders in which buffers are placed; the best result counts. Large ones first is what usually succeeds.
ORDERS: tuple[Callable[[Needed], tuple[int, ...]], ...] = (
    lambda b: (-b.size, b.first),
    lambda b: (-b.size, -b.last),
    lambda b: (b.first, -b.size),
    lambda b: (-b.last, -b.size),
    lambda b: (b.first - b.last, -b.size),
    lambda b: (-b.size * (b.last - b.first + 1), b.first),
)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Bytes that no plan can do without: the largest sum of what is needed at one step."""
    steps = {each.first for each in buffers}
    return max((sum(b.size for b in buffers if b.first <= step <= b.last) for step in steps), default=0)


def searched(
    buffers: Sequence[Buffer], above: Sequence[int] | None = None, enough: int = 0, work: int = WORK
) -> list[int]:
    """Where each of them may lie, those that are needed at the same time apart.

    Args:
        buffers: each may lie anywhere; equal ones in an equal order give equal places.
        above: bytes that have to be free above each, within the size that is made small.
        enough: a size at which the search may end.
        work: pairs that are looked at, at most; the orders by rule are tried in any case.
    """
    near = [[j for j, b in enumerate(buffers) if j != i and a.meets(b)] for i, a in enumerate(buffers)]
    bound, cost = max(enough, lower_bound(buffers)), len(buffers) + sum(map(len, near))
    room = above or [0] * len(buffers)
    indices = range(len(buffers))
    rules = [[index for _, index in sorted((rule(buffers[index]), index) for index in indices)] for rule in ORDERS]
    rules += [sorted(indices, key=lambda index: (-room[index] - buffers[index].size, index))]
    tried = [(_height(buffers, at, room), at, order) for order in rules for at in [_in_order(buffers, near, order)]]
    best, offsets, order = min(tried, key=lambda each: each[0])
    # Any sequence will do, but it has to be the same one everywhere.
    chance = random.Random(0)
    current = offsets
    for _ in range(min(_CHANGES, work // max(1, cost))):
        if best <= bound:
            break
        changed = _changed(buffers, near, current, room, order, chance)
        at = _in_order(buffers, near, changed)
        height = _height(buffers, at, room)
        if height <= best:
            order, current = changed, at
        if height < best:
            best, offsets = height, at
    return offsets


def _height(buffers: Sequence[Buffer], offsets: Sequence[int], room: Sequence[int]) -> int:
    """Up to where they reach, with what has to be free above each."""
    return max((at + each.size + above for at, each, above in zip(offsets, buffers, room, strict=True)), default=0)


def _in_order(buffers: Sequence[Buffer], near: Sequence[Sequence[int]], order: Sequence[int]) -> list[int]:
    """Each in the lowest gap among those that it meets and that are placed."""
    offsets = [-1] * len(buffers)
    for index in order:
        size, at = buffers[index].size, 0
        for begin, end in sorted((offsets[j], offsets[j] + buffers[j].size) for j in near[index] if offsets[j] >= 0):
            if begin - at >= size:
                break
            at = max(at, end)
        offsets[index] = at
    return offsets


def _changed(
    buffers: Sequence[Buffer], near: Sequence[Sequence[int]], offsets: Sequence[int], room: Sequence[int],
    order: Sequence[int], chance: random.Random,
) -> list[int]:  # fmt: skip
    """An order in which one of those that the highest buffer rests upon, or that one itself, comes elsewhere."""
    top = _height(buffers, offsets, room)
    highest = chance.choice([i for i, each in enumerate(buffers) if offsets[i] + each.size + room[i] == top])
    pile, above = {highest}, [highest]
    while above:
        index = above.pop()
        below = [j for j in near[index] if j not in pile and offsets[j] + buffers[j].size == offsets[index]]
        pile.update(below)
        above += below
    changed, one = list(order), chance.choice(sorted(pile))
    if chance.random() < 0.5:
        other = chance.choice(sorted({*pile, *(k for j in pile for k in near[j])}))
        here, there = changed.index(one), changed.index(other)
        changed[here], changed[there] = other, one
    else:
        changed.remove(one)
        changed.insert(chance.randrange(len(changed) + 1), one)
    return changed
