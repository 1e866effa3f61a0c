"""Where every tensor of a network lies: what is needed when, whole or row by row, and the plan that follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from export.c.by_rows.row_calls import RowCalls
from export.c.by_rows.schedule import Schedule
from export.c.by_rows.section import Section
from export.c.memory_plan import Buffer, MemoryPlan, lower_bound, plan
from export.c.places import Place, homes, in_place
from export.graph.ir import Graph
from qtorch.row.kernel_call import KernelCall

__all__ = ["ByRows", "Lifetimes", "Placement", "lifetimes", "placed", "placed_by", "scratch_of", "sums_of"]


@dataclass(frozen=True)
class ByRows:
    """A section with its order and its calls.

    Attributes:
        section: which nodes.
        schedule: of their rows.
        calls: by node index.
    """

    section: Section
    schedule: Schedule
    calls: Mapping[int, RowCalls]


@dataclass(frozen=True)
class Lifetimes:
    """What is needed when.

    Attributes:
        places: by tensor, of those that lie elsewhere than in working memory.
        buffers: of working memory.
        names: by tensor, the buffer that it lies in.
        starts: by node index, its first step; those of a section have the same.
        ends: likewise the last.
    """

    places: Mapping[str, Place]
    buffers: tuple[Buffer, ...]
    names: Mapping[str, str]
    starts: Sequence[int]
    ends: Sequence[int]

    def needed(self, index: int, among: Collection[str] | None = None) -> int:
        """Bytes that are in use while a node is computed, at most; of some buffers alone where they are named."""
        first, last = self.starts[index], self.ends[index]
        in_use = np.zeros(last - first + 1, np.int64)
        firsts, lasts = self._spans
        for at in np.flatnonzero((firsts <= last) & (lasts >= first)):
            buffer = self.buffers[at]
            if among is not None and buffer.name not in among:
                continue
            begin, end = max(first, buffer.first), min(last, buffer.last)
            held = buffer.bytes_held(begin, end)
            in_use[begin - first : end - first + 1] += held[:, 1] - held[:, 0]
        return int(in_use.max())

    @property
    def most(self) -> int:
        """Bytes that are in use at once, at most: no plan can do with less."""
        return lower_bound(self.buffers)

    @cached_property
    def _spans(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last step of every buffer."""
        return np.array([b.first for b in self.buffers], np.int64), np.array([b.last for b in self.buffers], np.int64)


@dataclass(frozen=True)
class Placement:
    """Everything in its place.

    Attributes:
        lifetimes: of what is placed.
        places: by tensor.
        plan: of the working memory.
        bound: bytes that no plan can do without: the tensors alone, without the kernels' own working memory.
    """

    lifetimes: Lifetimes
    places: Mapping[str, Place]
    plan: MemoryPlan
    bound: int


def scratch_of(index: int) -> str:
    """Name of the buffer that a node's kernel works in."""
    return f"scratch of {index}"


def sums_of(index: int) -> str:
    """Name of the buffer in which a node adds up row after row."""
    return f"sums of {index}"


def placed(graph: Graph, calls: Sequence[tuple[KernelCall, ...]], parts: Sequence[ByRows] = ()) -> Placement:
    """Everything in its place.

    Args:
        graph: of integers.
        calls: of its nodes.
        parts: that are computed row by row, in the graph's order.
    """
    timeline = lifetimes(graph, calls, parts)
    return placed_by(timeline, plan(timeline.buffers))


def placed_by(timeline: Lifetimes, found: MemoryPlan) -> Placement:
    """Everything where a plan of its buffers puts it."""
    names = timeline.names
    everywhere = {
        **{name: Place("scratch", found.offsets[buffer]) for name, buffer in names.items()},
        **timeline.places,
    }
    tensors = [buffer for buffer in timeline.buffers if buffer.name in set(names.values())]
    return Placement(timeline, everywhere, found, lower_bound(tensors))


def lifetimes(graph: Graph, calls: Sequence[tuple[KernelCall, ...]], parts: Sequence[ByRows] = ()) -> Lifetimes:
    """What :func:`placed` is planned from; arguments are the same."""
    starts, ends = _steps(graph, parts)
    inside = {node.index: part for part in parts for node in part.section.nodes}
    places, whole, names = _whole(graph, calls, inside)
    timed = [Buffer(b.name, b.size, starts[b.first], ends[b.last]) for b in whole.values()]
    buffers = [_given_up(b, names, parts, starts) for b in timed]
    for part in parts:
        buffers = _with_rows(graph, part, buffers, starts[part.section.first])
    return Lifetimes(places, tuple(buffers), names, starts, ends)


def _steps(graph: Graph, parts: Sequence[ByRows]) -> tuple[list[int], list[int]]:
    """First and last step of each node, and of what comes behind them all."""
    starts, ends, step = list[int](), list[int](), 0
    firsts = {part.section.first: part for part in parts}
    index = 0
    while index <= len(graph.nodes):
        part = firsts.get(index)
        nodes, steps = (len(part.section.nodes), len(part.schedule.order)) if part else (1, 1)
        starts += [step] * nodes
        ends += [step + steps - 1] * nodes
        step, index = step + steps, index + nodes
    return starts, ends


def _whole(
    graph: Graph, calls: Sequence[tuple[KernelCall, ...]], inside: Mapping[int, ByRows]
) -> tuple[dict[str, Place], dict[str, Buffer], dict[str, str]]:
    """Fixed places by tensor, buffers by name with nodes as steps, and the buffer of every tensor that lies in one.

    Tensors that share memory are one buffer, named after the first. A tensor joins its op's input where the kernel
    allows it and nothing reads that memory later; a mere copy joins in any case.
    """
    end = len(graph.nodes)
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.outputs, end)
    places = {state.value: Place("state", k) for k, state in enumerate(graph.states)}
    sections = {index: [node.index for node in part.section.nodes] for index, part in inside.items()}
    settled = homes(graph, calls, last, places, sections)
    last |= {state.after: end for state in graph.states}
    # First and last node, and bytes, by the buffer's name.
    spans: dict[str, tuple[int, int, int]] = {}
    names: dict[str, str] = {}
    for name in graph.inputs:
        names[name] = name
        spans[name] = 0, last.get(name, 0), graph.values[name].bytes
    for index, (node, kernels) in enumerate(zip(graph.nodes, calls, strict=True)):
        allowed = frozenset[str]() if index in inside else in_place(kernels)
        roles = node.input_roles() if allowed else {}
        for name in node.outputs:
            size, until = graph.values[name].bytes, last.get(name, index)
            if name in places:
                continue
            taken = next(
                (source for role, source in roles.items()
                 if role in allowed and _may_join(source, size, index, kernels, settled, spans, names)),
                None,
            )  # fmt: skip
            if taken in places:
                places[name] = places[taken]
                settled.add(name)
                continue
            names[name] = name if taken is None else names[taken]
            first, ends, size = spans.get(names[name], (index, index, size))
            spans[names[name]] = first, max(ends, until, index), size
        scratch = 0 if index in inside else max(call.scratch for call in kernels)
        if scratch:
            spans[scratch_of(index)] = index, index, scratch
    for i, name in enumerate(graph.outputs):
        if name not in names:
            # A constant or a state: copied at the end.
            spans[f"output {i}"] = end, end, graph.values[name].bytes
    buffers = {name: Buffer(name, size, first, ends) for name, (first, ends, size) in spans.items()}
    return places, buffers, names


def is_copy(calls: Sequence[KernelCall]) -> bool:
    """Whether nothing is to be done where input and output share memory."""
    return [call.kernel for call in calls] == ["copy"]


def _may_join(
    source: str, size: int, index: int, calls: tuple[KernelCall, ...],
    settled: set[str], spans: Mapping[str, tuple[int, int, int]], names: Mapping[str, str],
) -> bool:  # fmt: skip
    """Whether a result of ``size`` bytes may lie where ``source`` lies; what is ``settled`` stays as it is."""
    if is_copy(calls) and source in settled:
        return True
    if source not in names:
        return False
    _, ends, room = spans[names[source]]
    return size <= room and (is_copy(calls) or ends <= index)


def _given_up(buffer: Buffer, names: Mapping[str, str], parts: Sequence[ByRows], starts: Sequence[int]) -> Buffer:
    """A buffer whose last tensor is given up row by row, with what is needed of it."""
    for part in parts:
        start, steps = starts[part.section.first], len(part.schedule.order)
        if buffer.last != start + steps - 1:
            continue
        read = [name for name in part.section.rows if names.get(name) == buffer.name]
        if len(read) != 1 or read[0] not in part.section.given_up:
            continue
        each, rows = part.section.row_bytes[read[0]], part.section.rows[read[0]]
        if not each * (rows - 1) < buffer.size <= each * rows:
            continue
        held = np.empty((buffer.last - buffer.first + 1, 2), np.int64)
        held[:] = 0, buffer.size
        held[start - buffer.first :] = np.minimum(part.schedule.needed[read[0]] * each, buffer.size)
        return replace(buffer, held=held)
    return buffer


def _with_rows(graph: Graph, part: ByRows, buffers: list[Buffer], start: int) -> list[Buffer]:
    """The buffers of a section's tensors as it needs them, and those that its kernels need."""
    section, schedule = part.section, part.schedule
    steps = len(schedule.order)
    found = []
    for buffer in buffers:
        if buffer.name not in section.makers:
            found.append(buffer)
            continue
        rows = schedule.needed[buffer.name]
        each = section.row_bytes[buffer.name]
        if buffer.name in section.kept:
            # A later section may give it up row by row.
            held = buffer.bytes_held(start, buffer.last).copy()
            held[:steps] = np.minimum(rows * each, buffer.size)
            found.append(replace(buffer, held=held))
            continue
        size = min(schedule.most_rows(buffer.name) * each, buffer.size)
        there = (rows[:, 0] < rows[:, 1])[:, None] * np.array([0, size])
        found.append(Buffer(buffer.name, size, start, start + steps - 1, there))
    order = np.array(schedule.order)
    for place, node in enumerate(section.nodes):
        calls = part.calls[node.index]
        at = np.flatnonzero(order == place)
        if calls.sums_bytes:
            found.append(Buffer(sums_of(node.index), calls.sums_bytes, start + int(at[0]), start + int(at[-1])))
            continue
        if scratch := calls.scratch:
            there = np.where((order == place)[:, None], np.array([0, scratch]), 0)
            found.append(Buffer(scratch_of(node.index), scratch, start, start + steps - 1, there))
    return found
