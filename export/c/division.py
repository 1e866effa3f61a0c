"""Working memory in two memories, a fast and a slow one: what is read and written most lies in the fast one.

Offsets stay those of one memory, in which the slow one follows the fast one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from export.c.memory_plan import Buffer, MemoryPlan, aligned, distances, lower_bound, lowest_free, plan
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


#: Full plans of the fast memory, at most, that are made to see whether one buffer more goes into it.
_TRIED = 24


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
    apart = distances(buffers)
    found = []
    for worth in _orders(counts):
        inside = dict[str, int]()
        for buffer in sorted(buffers, key=worth):
            start = lowest_free(buffer, inside, apart)
            if start + buffer.size <= fast:
                inside[buffer.name] = start
        found.append(_both(buffers, _with_more(sorted(buffers, key=worth), inside, fast)))

    def good(made: MemoryPlan) -> tuple[int, float]:
        assert made.fast is not None
        slow = made.peak - made.fast
        too_many = 0 if room.slow is None else max(0, slow - room.slow)
        return too_many, -share_of_fast(made, counts)

    return min(found, key=good)


def _orders(counts: Mapping[str, int]) -> Iterable[Callable[[Buffer], tuple[float, ...]]]:
    """What comes into the fast memory first; large buffers where nothing else makes the rest small enough."""
    yield lambda b: (-counts[b.name] / max(b.size, 1), b.first)
    yield lambda b: (-counts[b.name] / (max(b.size, 1) * (b.last - b.first + 1)), b.first)
    yield lambda b: (-counts[b.name], b.first)
    yield lambda b: (-math.sqrt(counts[b.name]) * counts[b.name] / max(b.size, 1), b.first)
    yield lambda b: (-b.size, b.first)


def _with_more(buffers: Sequence[Buffer], inside: Mapping[str, int], fast: int) -> MemoryPlan:
    """A plan of the fast memory with what was put into it, and with what a better order has room for besides."""
    taken = [buffer for buffer in buffers if buffer.name in inside]
    peak = max((inside[buffer.name] + buffer.size for buffer in taken), default=0)
    best = min(MemoryPlan(inside, peak), plan(taken), key=lambda made: made.peak)
    left = (b for b in buffers if b.name not in inside and b.size <= fast and lower_bound([*taken, b]) <= fast)
    for buffer in islice(left, _TRIED):
        if (tried := plan([*taken, buffer])).peak <= fast:
            best, taken = tried, [*taken, buffer]
    return best


def _both(buffers: Sequence[Buffer], inside: MemoryPlan) -> MemoryPlan:
    fast = aligned(inside.peak)
    slow = plan([buffer for buffer in buffers if buffer.name not in inside.offsets])
    offsets = {**inside.offsets, **{name: fast + offset for name, offset in slow.offsets.items()}}
    return MemoryPlan(offsets, fast + slow.peak, fast)
