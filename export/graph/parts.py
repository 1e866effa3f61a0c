"""A graph with states in parts that follow each other, so that only what hangs on a state is computed run by run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from export.graph.ir import Graph, State

__all__ = ["parts_of"]


def parts_of(graph: Graph) -> tuple[Graph, ...]:
    """Graphs that, each on all runs before the next one begins, make what the whole makes run by run.

    A part with states has every node between the first and the last that reads a state or makes what it becomes; the
    others are without. It is one part where a value is no row of a run's own: where it hangs on no input, or is a state
    and something else as well.

    Args:
        graph: checked.
    """
    spans = _spans(graph)
    states = {state.value for state in graph.states}
    also = {*graph.outputs, *(state.after for state in graph.states)}
    if spans is None or not states.isdisjoint(also) or _hang_on_nothing(graph):
        return (graph,)
    parts, at = list[Graph](), 0
    for first, behind, held in (*spans, (len(graph.nodes), len(graph.nodes), ())):
        parts += [_part(graph, at, first, ())] if at < first else []
        parts += [_part(graph, first, behind, held)] if first < behind else []
        at = behind
    return tuple(parts) if all(part.inputs and part.outputs for part in parts) else (graph,)


def _spans(graph: Graph) -> list[tuple[int, int, tuple[State, ...]]] | None:
    """First node, the one behind the last, and the states between them; ``None`` where a state is read by no node."""
    made = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
    found = list[tuple[int, int, tuple[State, ...]]]()
    for state in graph.states:
        touched = [index for index, node in enumerate(graph.nodes) if state.value in node.inputs]
        if not touched:
            return None
        touched += [made[state.after]] if state.after in made else []
        found.append((min(touched), max(touched) + 1, (state,)))
    merged = list[tuple[int, int, tuple[State, ...]]]()
    for first, behind, held in sorted(found, key=lambda span: span[:2]):
        if merged and first < merged[-1][1]:
            before = merged.pop()
            merged.append((before[0], max(before[1], behind), (*before[2], *held)))
        else:
            merged.append((first, behind, held))
    return merged


def _hang_on_nothing(graph: Graph) -> bool:
    """Whether some node reads neither an input nor a state, by whatever way."""
    constant = set(graph.constants())
    return any(constant.issuperset(node.inputs) for node in graph.nodes)


def _part(graph: Graph, first: int, behind: int, states: tuple[State, ...]) -> Graph:
    """Some nodes, with what they read as inputs and what others read as outputs."""
    nodes, own = graph.nodes[first:behind], {state.value for state in states}
    made = {name for node in nodes for name in node.outputs}
    read = dict.fromkeys(_read(graph, first, behind, states))
    constants = set(graph.constants())
    inputs = tuple(name for name in read if name not in made | own | constants)
    wanted = {*_read(graph, behind, len(graph.nodes), graph.states), *graph.outputs}
    outputs = tuple(name for node in nodes for name in node.outputs if name in wanted)
    there = made | own | set(read)
    values = {name: value for name, value in graph.values.items() if name in there}
    return replace(graph, nodes=nodes, values=values, inputs=inputs, outputs=outputs, states=states)


def _read(graph: Graph, first: int, behind: int, states: tuple[State, ...]) -> Iterator[str]:
    for node in graph.nodes[first:behind]:
        yield from node.inputs
    for state in states:
        yield state.after
