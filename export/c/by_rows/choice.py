"""Which nodes are computed row by row: as few as make a network's working memory as small as it was found to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from export.c.by_rows.row_calls import RowCalls, row_calls
from export.c.by_rows.schedule import scheduled
from export.c.by_rows.section import RowNode, row_node, section_of
from export.c.placement import ByRows, Placement, placed
from export.graph.ir import Graph
from qtorch.row.image_rows import RowWindow
from qtorch.row.kernel_call import KernelCall, NoKernel

__all__ = ["chosen_parts"]

#: Nodes of a section, at most: as many as one byte counts are too many for the time that a plan may take.
_LONGEST = 96
#: Plans that are made in full, at most, to see whether ends of sections that lie elsewhere take less.
_TRIED = 24


@dataclass(frozen=True)
class _Choice:
    """Nodes ``first`` to ``last`` along an axis, and the bytes that are needed meanwhile, roughly."""

    first: int
    last: int
    axis: int
    bytes: int

    @property
    def nodes(self) -> int:
        return self.last - self.first + 1


def chosen_parts(
    graph: Graph, calls: Sequence[tuple[KernelCall, ...]], adapted: Callable[[KernelCall], KernelCall]
) -> tuple[ByRows, ...]:
    """Sections of a graph that make its working memory smaller; none where none does.

    Args:
        graph: of integers.
        calls: of its nodes.
        adapted: a kernel call as the processor takes it.
    """
    whole = placed(graph, calls)
    row_nodes = {axis: _row_nodes(graph, axis, adapted) for axis in (1, 2)}
    costs = [whole.needed(index) for index in range(len(graph.nodes))]
    choices = [c for axis, nodes in row_nodes.items() for c in _choices(graph, nodes, axis, max(costs, default=0))]

    def parts(chosen: Sequence[_Choice]) -> tuple[ByRows, ...]:
        made = []
        for choice in chosen:
            nodes = [row_nodes[choice.axis][k] for k in range(choice.first, choice.last + 1)]
            section = section_of(graph, [node for node, _ in nodes if node], choice.axis)
            made.append(ByRows(section, scheduled(section), {n.index: c for n, c in nodes if n and c}))
        return tuple(made)

    def tried(chosen: Sequence[_Choice]) -> tuple[tuple[ByRows, ...], Placement]:
        made = parts(chosen)
        return made, placed(graph, calls, made)

    chosen = _cheapest(costs, choices)
    if not chosen:
        return ()
    found, placement = tried(chosen)
    left = _TRIED
    for other in _moved(chosen, set(choices)):
        if left == 0:
            break
        left -= 1
        again, instead = tried(other)
        if instead.plan.peak < placement.plan.peak:
            found, placement = again, instead
    return found if placement.plan.peak < whole.plan.peak else ()


def _row_nodes(
    graph: Graph, axis: int, adapted: Callable[[KernelCall], KernelCall]
) -> list[tuple[RowNode | None, RowCalls | None]]:
    found: list[tuple[RowNode | None, RowCalls | None]] = []
    for index in range(len(graph.nodes)):
        node = row_node(graph, index, axis)
        calls = _calls(graph, node, axis, adapted) if node else None
        found.append((node, calls) if calls else (None, None))
    return found


def _calls(graph: Graph, node: RowNode, axis: int, adapted: Callable[[KernelCall], KernelCall]) -> RowCalls | None:
    try:
        calls = row_calls(graph, node, axis)
    except NoKernel:
        return None
    return replace(calls, each=tuple(map(adapted, calls.each)), at_last=tuple(map(adapted, calls.at_last)))


def _choices(
    graph: Graph, nodes: Sequence[tuple[RowNode | None, RowCalls | None]], axis: int, most: int
) -> Iterator[_Choice]:
    """Every run of nodes, with what it needs: the rows that are kept between them, and what lies around."""
    values = graph.values
    makers = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    last |= dict.fromkeys(graph.sinks, len(graph.nodes))
    states = {state.value for state in graph.states}
    tensors = [n for n in (*graph.inputs, *makers) if values[n].data is None and n not in states]
    for first in range(len(nodes)):
        if nodes[first][0] is None:
            continue
        # What is there before: it passes by, or is given up when the last of its readers is among the nodes.
        before = {n: values[n].bytes for n in tensors if makers.get(n, -1) < first <= last.get(n, -1)}
        passing, given_up, kept = sum(before.values()), 0, dict[str, int]()
        lines = sums = scratch = 0
        for at in range(first, min(len(nodes), first + _LONGEST)):
            node, calls = nodes[at]
            if node is None or calls is None:
                break
            scratch = max(scratch, 0 if calls.sums_bytes else max(call.scratch for call in calls.each))
            sums += calls.sums_bytes
            for name in graph.nodes[at].outputs:
                kept[name] = values[name].bytes
            for name, window in set(node.reads.values()):
                if last[name] != at:
                    continue
                if name in before:
                    passing, given_up = passing - before[name], given_up + before[name]
                elif name in kept:
                    del kept[name]
                    rows = graph.values[name].shape[axis]
                    between = range(makers[name] + 1, at) if window.window == 1 else ()
                    reach = sum(w.window - 1 for k in between for _, w in _reads(nodes[k]) if w.stride)
                    lines += min(rows, window.window + reach) * (values[name].bytes // max(rows, 1))
            if lines >= most:
                break
            yield _Choice(first, at, axis, passing + lines + sums + scratch + max(given_up, sum(kept.values())))


def _reads(entry: tuple[RowNode | None, RowCalls | None]) -> list[tuple[str, RowWindow]]:
    return list(entry[0].reads.values()) if entry[0] else []


def _cheapest(costs: Sequence[int], choices: Sequence[_Choice]) -> list[_Choice]:
    """Of all ways to divide a network into single nodes and sections: the least memory, and then the fewest rows."""
    ending: list[list[_Choice]] = [[] for _ in costs]
    for choice in choices:
        ending[choice.last].append(choice)
    least = [0]
    for index, cost in enumerate(costs):
        ways = [max(least[index], cost), *(max(least[c.first], c.bytes) for c in ending[index])]
        least.append(min(ways))
    most, fewest = least[-1], [(0.0, 0.0)]
    taken: list[_Choice | None] = []
    for index, cost in enumerate(costs):
        best, how = fewest[index] if cost <= most else (inf, inf), None
        for choice in ending[index]:
            nodes, sections = fewest[choice.first]
            if choice.bytes <= most and (nodes + choice.nodes, sections + 1) < best:
                best, how = (nodes + choice.nodes, sections + 1), choice
        fewest.append(best)
        taken.append(how)
    chosen, index = list[_Choice](), len(costs)
    while index:
        way = taken[index - 1]
        if way:
            chosen.append(way)
        index = way.first if way else index - 1
    return chosen[::-1]


def _moved(chosen: Sequence[_Choice], there: set[_Choice]) -> Iterator[list[_Choice]]:
    """The same sections, one of them with ends that lie elsewhere, the nearest first."""
    known = {(c.first, c.last, c.axis): c for c in there}
    for far in range(1, 5):
        for place, choice in enumerate(chosen):
            for first, last in ((0, far), (0, -far), (far, 0), (-far, 0), (-far, far)):
                key = (choice.first + first, choice.last + last, choice.axis)
                other = known.get(key)
                free = (place == 0 or chosen[place - 1].last < key[0]) and (
                    place + 1 == len(chosen) or chosen[place + 1].first > key[1]
                )
                if other and free:
                    yield [*chosen[:place], other, *chosen[place + 1 :]]
