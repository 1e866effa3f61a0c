"""States in the shape in which they are used: a RESHAPE of one, and the opposite of what replaces it, are none."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from export.graph.ir import Graph, State

__all__ = ["with_states_as_used"]


def with_states_as_used(graph: Graph) -> Graph:
    """The same integers, without RESHAPEs between a state and the one op that reads it, where both ends have such."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    states, left_out = list[State](), set[str]()
    for state in graph.states:
        reading = next((node for node in graph.nodes if state.value in node.inputs), None)
        making = makers.get(state.after)
        alone = readers[state.value] == 1 and state.value not in graph.sinks
        fits = alone and reading is not None and making is not None and {reading.op, making.op} == {"reshape"}
        if not fits or reading is None or making is None:
            states.append(state)
            continue
        value, after = reading.output, making.inputs[0]
        shape = graph.values[value].shape
        if graph.values[after].shape != shape or graph.values[after].data is not None:
            states.append(state)
            continue
        states.append(State(value, after, state.first.reshape(shape)))
        left_out.add(state.value)
    nodes = tuple(node for node in graph.nodes if not left_out.intersection(node.inputs))
    values = {name: value for name, value in graph.values.items() if name not in left_out}
    return replace(graph, values=values, nodes=nodes, states=tuple(states))
