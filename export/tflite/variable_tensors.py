"""States that a file can have as variable tensors, which an operator changes where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from export.graph.ir import Graph, Node, State
from qtorch.errors import UnsupportedLayer
from qtorch.row.row import TFLite

__all__ = ["as_in_file", "first_contents", "kept_inside", "require_carried", "variable_tensors"]


def first_contents(
    dtype: str, shape: tuple[int, ...], zero_point: tuple[int, ...], *, resource: bool = False
) -> np.ndarray:
    """What TFLM fills a variable with before the first run: codes, one number that stands everywhere; read-only.

    It takes no memory: the shape is what a file says, whose operators have yet to agree.

    Args:
        dtype: of the variable, or of the first tensor that is assigned to it.
        shape: likewise.
        zero_point: likewise; empty without quantization.
        resource: whether it is a resource variable: then the zero point counts for every type, as a byte.
    """
    zero = zero_point[0] if zero_point and (resource or dtype == "int8") else 0
    return np.broadcast_to(np.full(np.dtype(dtype).itemsize, zero & 0xFF, np.uint8).view(dtype)[0], shape)


def variable_tensors(graph: Graph) -> dict[str, str]:
    """By the value of each state that can be a variable tensor, what it is after a run, which is the same tensor again.

    One operator alone reads and replaces it, and it begins with what TFLM fills such a tensor with. Others can be
    resource variables.
    """
    kept = kept_inside(graph)
    return {state.value: state.after for state in graph.states if state.value not in kept and _is_one(graph, state)}


def kept_inside(graph: Graph) -> dict[str, str]:
    """By the value of each state that an operator keeps inside, from zeros on, what it is after a run.

    Raises:
        UnsupportedLayer: such an operator's state is used otherwise, or begins otherwise.
    """
    found = {}
    states = {state.value: state for state in graph.states}
    for node in graph.nodes:
        inputs, outputs, cell = node.input_roles(), node.output_roles(), node.row.tflite
        for role in cell.kept if isinstance(cell, TFLite) else ():
            name = inputs[role]
            state, reads = states.get(name), sum(each.inputs.count(name) for each in graph.nodes)
            fine = state is not None and state.after == outputs[f"next_{role}"] and not np.any(state.first)
            if not fine or reads != 1 or name in graph.sinks:
                raise _used_otherwise(node, name)
            found[name] = outputs[f"next_{role}"]
    return found


def _is_one(graph: Graph, state: State) -> bool:
    reads = [(node, role) for node in graph.nodes for role, name in node.input_roles().items() if name == state.value]
    if len(reads) != 1 or any(state.after in node.inputs for node in graph.nodes):
        return False
    (node, role), value = reads[0], graph.values[state.value]
    own = node.output_roles().get(f"next_{role}") == state.after
    alone = [*graph.sinks].count(state.after) == 1 and state.value not in graph.sinks
    zero_point = () if value.qparams is None else value.qparams.zero_point
    fill = first_contents(value.array_dtype, value.shape, zero_point)
    return own and alone and bool((fill == state.first).all())


def as_in_file(graph: Graph) -> Graph:
    """The same graph with values and states in the order in which a file of it has them.

    What a variable tensor is after a run has no place of its own there and comes last; the states that are resource
    variables are read before everything else.
    """
    variables, kept = variable_tensors(graph), kept_inside(graph)
    if not graph.states:
        return graph
    last = [name for node in graph.nodes for name in node.outputs if name in variables.values()]
    last += kept
    first = [name for name in graph.values if name not in last]
    by_value = {state.value: state for state in graph.states}
    carried = [name for node in graph.nodes for name in node.inputs if name in variables]
    order = [*(name for name in by_value if name not in variables and name not in kept), *carried, *kept]
    return replace(
        graph,
        values={name: graph.values[name] for name in (*first, *last)},
        states=tuple(by_value[name] for name in order),
    )


def require_carried(graph: Graph, others: Sequence[State]) -> None:
    """Nothing, if no operator that changes a variable tensor reads or replaces one of the states that are none.

    Raises:
        UnsupportedLayer: one does.
    """
    apart = {state.value for state in others}
    held = {name for state in graph.states if state.value not in apart for name in (state.value, state.after)}
    for node in graph.nodes:
        roles = node.input_roles() | node.output_roles()
        names = [roles[role] for carried in node.row.carried for role in (carried, f"next_{carried}") if role in roles]
        for name in names:
            if name not in held:
                raise _used_otherwise(node, name)


def _used_otherwise(node: Node, name: str) -> UnsupportedLayer:
    return UnsupportedLayer(
        where=f"{node.op} {node.output!r}",
        expected="states that this operator alone reads and replaces, and that begin with zeros",
        got=f"{name!r}, which is used otherwise, or begins otherwise",
        remedy="take the plain C, which has states of any kind",
    )
