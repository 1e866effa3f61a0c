"""Which nodes are computed row by row: as few as make a network's working memory as small as it was found to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import inf

from export.c.by_rows.blocks import in_blocks
from export.c.by_rows.row_calls import RowCalls, row_calls
from export.c.by_rows.schedule import scheduled
from export.c.by_rows.section import RowNode, row_node, section_of
from export.c.placement import ByRows, Placement, lifetimes, placed
from export.graph.ir import Graph
from qtorch.row.kernel_call import KernelCall, NoKernel

__all__ = ["chosen_parts"]

#: Nodes of a section, at most.
_LONGEST = 96
#: Sections whose rows are put in order, at most, until those that seem best are known to be so.
_ORDERED = 80
#: Plans that are made in full, to see whether ends of sections that lie elsewhere take less: so many nodes in all at
#: most, and so many plans of any network.
_TRIED_NODES, _TRIED = 800, 4
#: Parts of the memory that is needed at once at least, which other nodes are to stay below where plans have gaps.
_SHARES = (0.9, 0.75, 0.6)
#: Of tensors, in bytes: gaps that are smaller are no matter of order.
_ALIGNMENT = 4

_RowNodes = Sequence[tuple[RowNode | None, RowCalls | None]]


@dataclass(frozen=True)
class _Choice:
    """Nodes ``first`` to ``last`` along an axis, and the bytes that are needed meanwhile, at least."""

    first: int
    last: int
    axis: int
    bytes: int

    @property
    def nodes(self) -> int:
        return self.last - self.first + 1


def chosen_parts(
    graph: Graph,
    calls: Sequence[tuple[KernelCall, ...]],
    whole: Placement,
    adapted: Callable[[KernelCall], KernelCall],
    blocks: Sequence[int] = (),
    room: int | None = None,
) -> tuple[tuple[ByRows, ...], Placement, int | None]:
    """Sections of a graph that make its working memory smaller, and where everything lies then; none where none does.

    In the end the bytes that the rows take, or would take at least where they help not; ``None``: no operator that
    decides has any.

    Args:
        graph: of integers.
        calls: of its nodes.
        whole: the placement without sections.
        adapted: a kernel call as the processor takes it.
        blocks: how many rows a product of matrices makes at a time, the best first: the first that takes less than
            whole tensors do, and no more than there is room for; else one.
        room: bytes of working memory that there are, if that is known.
    """
    row_nodes = {axis: _row_nodes(graph, axis, adapted) for axis in (1, 2)}
    costs = [whole.lifetimes.needed(index) for index in range(len(graph.nodes))]
    most = max(costs, default=0)
    choices = {c: c.bytes for axis, nodes in row_nodes.items() for c in _choices(graph, nodes, axis, most)}

    @cache
    def part(choice: _Choice) -> ByRows:
        nodes = row_nodes[choice.axis][choice.first : choice.last + 1]
        section = section_of(graph, [node for node, _ in nodes if node], choice.axis)
        return ByRows(section, scheduled(section), {n.index: c for n, c in nodes if n and c})

    ordered = set[_Choice]()

    def settled(share: float) -> list[_Choice]:
        """The cheapest way of sections whose order is known."""
        nonlocal choices
        chosen = _cheapest(costs, choices, share)
        while new := [c for c in chosen if c not in ordered]:
            if len(ordered) > _ORDERED:
                choices = {c: needed for c, needed in choices.items() if c in ordered}
            together = lifetimes(graph, calls, [part(choice) for choice in new])
            choices |= {choice: max(choice.bytes, together.needed(choice.first)) for choice in new}
            ordered.update(new)
            chosen = _cheapest(costs, choices, share)
        return chosen

    chosen = settled(1.0)
    if not chosen:
        return (), whole, _nearest(costs, choices)

    def planned(way: Sequence[_Choice]) -> Placement:
        return placed(graph, calls, [part(c) for c in way])

    way: Sequence[_Choice] = chosen
    found = planned(way)
    least = found.lifetimes.most
    if found.plan.peak - least >= _ALIGNMENT:
        # Tensors do not fit without gaps: there is more room where other nodes need less than they may.
        tighter = [(way, planned(way)) for way in (settled(share) for share in _SHARES)]
        begins = [(way, found), min(tighter, key=_peak)]
        way, found = min((_searched(*each, choices, planned, least) for each in begins), key=_peak)
    if found.plan.peak >= whole.plan.peak:
        return (), whole, found.plan.peak
    parts = tuple(part(c) for c in way)
    for block in blocks:
        larger = tuple(_in_blocks(graph, each, block, adapted) for each in parts)
        if all(one is other for one, other in zip(parts, larger, strict=True)):
            continue
        wider = placed(graph, calls, larger)
        if wider.plan.peak < whole.plan.peak and (room is None or wider.plan.peak <= room):
            return larger, wider, wider.plan.peak
    return parts, found, found.plan.peak


def _in_blocks(graph: Graph, part: ByRows, block: int, adapted: Callable[[KernelCall], KernelCall]) -> ByRows:
    """A section that makes several rows at a time; as it is where it can't, or has nothing of it."""
    axis = part.section.axis
    nodes = in_blocks(graph, part.section.nodes, axis, block)
    calls = {node.index: _calls(graph, node, axis, adapted) for node in nodes or ()}
    known = {index: each for index, each in calls.items() if each is not None}
    if nodes is None or len(known) < len(nodes):
        return part
    section = section_of(graph, nodes, axis)
    return ByRows(section, scheduled(section), known)


def _nearest(costs: Sequence[int], choices: Mapping[_Choice, int]) -> int | None:
    """The least that all nodes which need most would need by rows."""
    deciding = [index for index, cost in enumerate(costs) if cost == max(costs)]
    ways = [[needed for c, needed in choices.items() if c.first <= index <= c.last] for index in deciding]
    return max(map(min, ways)) if ways and all(ways) else None


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
    each, at_last, rest = (tuple(map(adapted, of)) for of in (calls.each, calls.at_last, calls.rest))
    return replace(calls, each=each, at_last=at_last, rest=rest)


def _choices(graph: Graph, nodes: _RowNodes, axis: int, most: int) -> Iterator[_Choice]:
    """Every run of nodes, with what it needs at least.

    That is what lies around it; of every tensor the rows that one window shares with the next; and for one of the nodes
    all rows of its windows, and the row that it makes.
    """
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
        lines = sums = step = 0
        for at in range(first, min(len(nodes), first + _LONGEST)):
            node, calls = nodes[at]
            if node is None or calls is None:
                break
            sums += calls.sums_bytes
            own = 0 if calls.sums_bytes else max(call.scratch for call in calls.each)
            for name in graph.nodes[at].outputs:
                kept[name] = values[name].bytes
                own += values[name].bytes // node.rows
            for name, window in set(node.reads.values()):
                each = values[name].bytes // max(values[name].shape[axis], 1)
                if name in kept:
                    own += min(window.window, window.advance) * each
                if last[name] != at:
                    continue
                if name in before:
                    passing, given_up = passing - before[name], given_up + before[name]
                elif name in kept:
                    del kept[name]
                    lines += max(window.window - window.advance, 0) * each if window.stride else values[name].bytes
            step = max(step, own)
            if lines >= most:
                break
            ends = max(given_up, sum(kept.values()))
            yield _Choice(first, at, axis, passing + lines + sums + max(ends, step))


def _cheapest(costs: Sequence[int], choices: Mapping[_Choice, int], share: float) -> list[_Choice]:
    """Of all ways to divide a network into single nodes and sections: the least memory, and then the fewest rows.

    Before the rows come bytes above so large a share of that memory.
    """
    ending: list[list[tuple[_Choice, int]]] = [[] for _ in costs]
    for choice, needed in choices.items():
        ending[choice.last].append((choice, needed))
    least = [0]
    for index, cost in enumerate(costs):
        ways = [max(least[index], cost), *(max(least[c.first], needed) for c, needed in ending[index])]
        least.append(min(ways))
    most, fewest = least[-1], [(0.0, 0.0, 0.0)]
    limit = share * most
    taken: list[_Choice | None] = []
    for index, cost in enumerate(costs):
        above, nodes, sections = fewest[index]
        best = (above + max(0.0, cost - limit), nodes, sections) if cost <= most else (inf, inf, inf)
        how = None
        for choice, needed in ending[index]:
            if needed > most:
                continue
            above, nodes, sections = fewest[choice.first]
            reached = (above + max(0.0, needed - limit) * choice.nodes, nodes + choice.nodes, sections + 1)
            if reached < best:
                best, how = reached, choice
        fewest.append(best)
        taken.append(how)
    chosen, index = list[_Choice](), len(costs)
    while index:
        way = taken[index - 1]
        if way:
            chosen.append(way)
        index = way.first if way else index - 1
    return chosen[::-1]


def _peak(planned: tuple[Sequence[_Choice], Placement]) -> int:
    return planned[1].plan.peak


def _searched(
    way: Sequence[_Choice],
    found: Placement,
    choices: Mapping[_Choice, int],
    planned: Callable[[Sequence[_Choice]], Placement],
    least: int,
) -> tuple[Sequence[_Choice], Placement]:
    """Sections near those of a way that take less, as long as there are such, and where everything lies then.

    What one section makes row by row where another gives it up pushes the next one's further on: plans of many sections
    have gaps that those of fewer have not.
    """
    known = {(c.first, c.last, c.axis): c for c in choices}
    tried, ahead = {tuple(way)}, _moved(way, known)
    left = max(_TRIED, _TRIED_NODES // (way[-1].last + 1))
    while left and found.plan.peak - least >= _ALIGNMENT and (other := next(ahead, None)):
        if tuple(other) in tried or any(choices[c] >= found.plan.peak for c in other):
            continue
        tried.add(tuple(other))
        left -= 1
        tighter = planned(other)
        if tighter.plan.peak < found.plan.peak:
            way, found, ahead = other, tighter, _moved(other, known)
    return way, found


def _moved(way: Sequence[_Choice], known: Mapping[tuple[int, int, int], _Choice]) -> Iterator[list[_Choice]]:
    """The same sections with ends that lie elsewhere, the nearest first; two as one, one as two, or left out."""
    changed: list[tuple[int, int, list[tuple[int, int, int]]]] = [
        (at, 1, [(one.first + first, one.last + last, one.axis)])
        for far in (1, 2, 3, 4)
        for at, one in enumerate(way)
        for first, last in ((0, far), (0, -far), (far, 0), (-far, 0), (-far, far))
    ]
    for at, (one, behind) in enumerate(pairwise(way)):
        changed.append((at, 2, [(one.first, behind.last, one.axis)]))
        changed += [
            (at, 2, [(one.first, one.last + far, one.axis), (behind.first + far, behind.last, behind.axis)])
            for far in (1, -1, 2, -2)
        ]
    for at, one in enumerate(way):
        ends = range(one.first, one.last)
        changed += [(at, 1, [(one.first, end, one.axis), (end + 1, one.last, one.axis)]) for end in ends]
        changed.append((at, 1, []))
    for at, count, keys in changed:
        others = [known[key] for key in keys if key in known]
        moved = [*way[:at], *others, *way[at + count :]]
        if len(others) == len(keys) and moved and all(a.last < b.first for a, b in pairwise(moved)):
            yield moved
