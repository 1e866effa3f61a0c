"""Where tensors lie, and which of them may be made where a state lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from export.graph.ir import Graph, State
from qtorch.errors import UnsupportedLayer
from qtorch.row.kernel_call import KernelCall

__all__ = ["Place", "homes", "in_order", "in_place"]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: in an argument of the call, in working memory, or, a constant, in flash.

    Attributes:
        kind: ``"in"`` and ``"out"`` are arguments of the model's function; ``"state"`` outlives a run.
        index: of the input, output, constant or state, or the byte offset in working memory.
    """

    kind: str
    index: int


def in_place(calls: tuple[KernelCall, ...]) -> frozenset[str]:
    """Roles of inputs that no call reads after their memory has been written."""
    return frozenset.intersection(*(call.in_place for call in calls))


def homes(
    graph: Graph, calls: Sequence[tuple[KernelCall, ...]], last: Mapping[str, int], places: dict[str, Place],
    sections: Mapping[int, Sequence[int]],
) -> set[str]:  # fmt: skip
    """What states are after a run that may be made where the state lies; each gets its place.

    Args:
        graph: of integers.
        calls: of its nodes.
        last: by value, the last node that reads it.
        places: that are given already; added to.
        sections: of a node that is computed row by row, those that are so together with it; their rows take turns.
    """
    found = set()
    makers = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
    sinks = graph.sinks
    for k, state in enumerate(graph.states):
        made = makers.get(state.after)
        if made is None or state.after in places or state.value in sinks:
            continue
        if any(state.value in graph.nodes[other].inputs for other in sections.get(made, ()) if other != made):
            continue
        read = last.get(state.value, -1)
        if read < made or (read == made and _takes_over(graph, state, made, calls[made])):
            places[state.after] = Place("state", k)
            found.add(state.after)
    return found


def _takes_over(graph: Graph, state: State, index: int, calls: tuple[KernelCall, ...]) -> bool:
    """Whether a node's kernel writes what the state becomes over what it reads of it, and reads it nowhere else."""
    node = graph.nodes[index]
    roles = [role for role, name in node.input_roles().items() if name == state.value]
    made = next(role for role, name in node.output_roles().items() if name == state.after)
    if made.startswith("next_"):
        # Kernels of what an op carries take one memory for both.
        return roles == [made.removeprefix("next_")]
    return len(node.outputs) == 1 and set(roles) <= in_place(calls)


def in_order(copies: Mapping[int, Place]) -> dict[int, Place]:
    """Copies to states, by their index, each before what it reads is overwritten.

    Raises:
        UnsupportedLayer: states that take each other's place.
    """
    left, ordered = dict(copies), dict[int, Place]()
    while left:
        read = {there.index for there in left.values() if there.kind == "state"}
        free = next((k for k in left if k not in read), None)
        if free is None:
            raise UnsupportedLayer(
                where="states",
                expected="states that follow each other, for plain C",
                got=f"{len(left)} that take each other's place in one run",
                remedy="use TFLite Micro",
            )
        ordered[free] = left.pop(free)
    return ordered
