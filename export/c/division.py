"""Working memory in two memories, a fast and a slow one: what is read and written most lies in the fast one.

Offsets stay those of one memory, in which the slow one follows the fast one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.c.memory_plan import Buffer, MemoryPlan, aligned, distances, lowest_free, plan
from export.c.placement import Lifetimes, scratch_of, sums_of
from export.graph.ir import Graph, Node

__all__ = ["Room", "accesses", "divided", "share_of_fast"]


@dataclass(frozen=True)
class Room:
    """Bytes that there are of two memories; ``None``: as many as it takes."""

    fast: int
    slow: int | None = None


def accesses(graph: Graph, lifetimes: Lifetimes) -> dict[str, int]:
    """Bytes that are read and written in each buffer in one run, by name; from shapes, as C without vectors would.

    A kernel that sums up products reads a byte of its input for each: of its own working memory instead where it has
    some, into which it gathers each window once.
    """
    found = dict.fromkeys((buffer.name for buffer in lifetimes.buffers), 0)
    values = graph.values

    def add(name: str, count: int) -> None:
        if (own := lifetimes.names.get(name)) is not None:
            found[own] += count

    for name in graph.inputs:
        add(name, values[name].bytes)
    for i, name in enumerate(graph.outputs):
        add(name, values[name].bytes)
        if f"output {i}" in found:
            found[f"output {i}"] += 2 * values[name].bytes
    for index, node in enumerate(graph.nodes):
        for name in node.outputs:
            add(name, values[name].bytes)
        window, products = _window(graph, node), _products(graph, node)
        gathers = scratch_of(index) in found and products > 0
        for name in node.inputs:
            value = values[name]
            size = value.bytes // max(value.elements, 1)
            once = products // max(values[node.output].shape[-1], 1) if gathers else products
            add(name, max(value.bytes, once * size, window * values[node.output].elements * size))
        if scratch_of(index) in found:
            found[scratch_of(index)] += products or 2 * values[node.output].bytes
        if sums_of(index) in found:
            # Sums of 32 bits, read and written.
            found[sums_of(index)] += 8 * values[node.inputs[0]].elements
    return found


def _products(graph: Graph, node: Node) -> int:
    if node.row.macs is None:
        return 0
    roles = node.input_roles() | node.output_roles()
    return node.row.macs({role: graph.values[name].shape for role, name in roles.items()})


def _window(graph: Graph, node: Node) -> int:
    """Numbers that a pooling reads for each that it gives."""
    return int(node.attrs.get("filter_h", 0)) * int(node.attrs.get("filter_w", 0)) if node.row.macs is None else 0


def share_of_fast(found: MemoryPlan, counts: Mapping[str, int]) -> float:
    """The part of all accesses that the fast memory has."""
    assert found.fast is not None
    total = sum(counts.values())
    return sum(n for name, n in counts.items() if found.offsets[name] < found.fast) / total if total else 1.0


#: Buffers that are placed anew, at most, to see whether one more goes into the fast memory.
_TRIED = 5_000


def divided(buffers: Sequence[Buffer], counts: Mapping[str, int], room: Room) -> MemoryPlan:
    """A plan of two memories.

    Everything lies in the fast one if it has the room; else what the most accesses per byte go to, as long as that
    makes the rest small enough for the slow one.

    Args:
        buffers: names are distinct.
        counts: accesses by name.
        room: that there is.
    """
    whole, fast = plan(buffers), room.fast // 4 * 4
    if whole.peak <= fast:
        return replace(whole, fast=aligned(whole.peak))

    def good(made: MemoryPlan) -> tuple[int, float]:
        assert made.fast is not None
        slow = made.peak - made.fast
        too_many = 0 if room.slow is None else max(0, slow - room.slow)
        return too_many, -share_of_fast(made, counts)

    filling = _Filling(distances(buffers), fast)
    orders = [sorted(buffers, key=worth) for worth in _orders(counts)]
    found = [_both(order, filling.filled(order, {})) for order in orders]
    best = sorted(range(len(orders)), key=lambda number: good(found[number]))[:2]
    found += [_with_more(orders[number], found[number], fast) for number in best]
    if room.slow is not None and good(min(found, key=good))[0]:
        for first in (_largest, _longest):
            relief = filling.relieved(buffers, room.slow, first)
            found += [_both(order, filling.filled(order, relief)) for order in orders]
            found.append(_both(buffers, relief))
    return min(found, key=good)


#: What of several buffers comes first.
_Order = Callable[[Buffer], tuple[float, ...]]


def _largest(buffer: Buffer) -> tuple[int, ...]:
    return -buffer.size, buffer.first


def _longest(buffer: Buffer) -> tuple[int, ...]:
    return -buffer.size * (buffer.last - buffer.first + 1), buffer.first


@dataclass(frozen=True)
class _Filling:
    """What goes into the fast memory, and where, buffer by buffer.

    Attributes:
        apart: see :func:`export.c.memory_plan.distances`.
        fast: bytes that it has.
    """

    apart: Mapping[str, Sequence[tuple[str, int, int]]]
    fast: int

    def filled(self, order: Sequence[Buffer], already: Mapping[str, int]) -> dict[str, int]:
        """Offsets of those that still fit, in this order."""
        inside = dict(already)
        for buffer in order:
            if buffer.name not in inside:
                self._put(buffer, inside)
        return inside

    def relieved(self, buffers: Sequence[Buffer], slow: int, first: _Order) -> dict[str, int]:
        """Offsets of buffers without which the rest needs so many bytes at most in every step, or as few as it can."""
        inside = dict[str, int]()
        needed = np.zeros(max(buffer.last for buffer in buffers) + 1, np.int64)
        for buffer in buffers:
            needed[buffer.first : buffer.last + 1] += buffer.sizes()
        while needed.max() > slow:
            step = int(needed.argmax())
            there = [b for b in buffers if b.first <= step <= b.last and b.name not in inside]
            moved = next((b for b in sorted(there, key=first) if self._put(b, inside)), None)
            if moved is None:
                break
            needed[moved.first : moved.last + 1] -= moved.sizes()
        return inside

    def _put(self, buffer: Buffer, inside: dict[str, int]) -> bool:
        start = lowest_free(buffer, inside, self.apart)
        if start + buffer.size > self.fast:
            return False
        inside[buffer.name] = start
        return True


def _orders(counts: Mapping[str, int]) -> Iterable[_Order]:
    """What comes into the fast memory first; large buffers where nothing else makes the rest small enough."""
    yield lambda b: (-counts[b.name] / max(b.size, 1), b.first)
    yield lambda b: (-counts[b.name] / (max(b.size, 1) * (b.last - b.first + 1)), b.first)
    yield lambda b: (-counts[b.name], b.first)
    yield lambda b: (-math.sqrt(counts[b.name]) * counts[b.name] / max(b.size, 1), b.first)
    yield lambda b: (-b.size, b.first)


def _with_more(buffers: Sequence[Buffer], found: MemoryPlan, fast: int) -> MemoryPlan:
    """A division with what a better order in the fast memory has room for besides."""
    assert found.fast is not None
    inside = {name: offset for name, offset in found.offsets.items() if offset < found.fast}
    taken = [buffer for buffer in buffers if buffer.name in inside]
    needed = np.zeros(max(buffer.last for buffer in buffers) + 1, np.int64)
    for buffer in taken:
        needed[buffer.first : buffer.last + 1] += buffer.sizes()
    best, tried = inside, 0
    for buffer in buffers:
        steps = slice(buffer.first, buffer.last + 1)
        if buffer.name in inside or buffer.size > fast or (needed[steps] + buffer.sizes()).max() > fast:
            continue
        if (tried := tried + len(taken)) > _TRIED:
            break
        if (made := plan([*taken, buffer])).peak <= fast:
            best, taken = dict(made.offsets), [*taken, buffer]
            needed[steps] += buffer.sizes()
    return _both(buffers, best)


def _both(buffers: Sequence[Buffer], inside: Mapping[str, int]) -> MemoryPlan:
    """Some buffers at these offsets of the fast memory, all others in the slow one."""
    fast = aligned(max((inside[b.name] + b.size for b in buffers if b.name in inside), default=0))
    slow = plan([buffer for buffer in buffers if buffer.name not in inside])
    offsets = {**inside, **{name: fast + offset for name, offset in slow.offsets.items()}}
    return MemoryPlan(offsets, fast + slow.peak, fast)
