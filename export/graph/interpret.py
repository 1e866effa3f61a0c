"""Runs a graph through the rows' integer references: the living definition of what the device computes.

Every op takes a whole batch of samples at once. Training does not come here: it has routes of its own,
:mod:`qtorch.network.routes`, to the same integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from export.graph.ir import Graph, Node
from export.graph.parts import parts_of
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.functional import dequantize
from qtorch.numbers.grid import Grid
from qtorch.progress import steps

__all__ = ["float_reference", "interpret", "interpret_sequence", "widened"]

#: Elements of all activations of the runs that a part of a graph without states takes at once.
_TOGETHER = 2**20


@torch.no_grad()
def interpret(
    graph: Graph, inputs: tuple[np.ndarray, ...], rounding: Rounding = Rounding.DOUBLE, *, every: bool = False
) -> dict[str, np.ndarray]:
    """The outputs by name, for samples stacked along the first axis, each by itself: states start anew with every one.

    Args:
        graph: checked.
        inputs: one array per graph input, ``[samples, *shape[1:]]``, integer codes or float32.
        rounding: DOUBLE mirrors TFLM, SINGLE mirrors LiteRT's reference kernels.
        every: give every run-time tensor, inputs and states included.

    Returns: name to array of the value's dtype.
    """
    runs = _runs(graph, inputs)
    states = {state.value: np.concatenate([state.first] * runs) for state in graph.states}
    return _run(graph, inputs, states, rounding, every=every)


@torch.no_grad()
def interpret_sequence(
    graph: Graph,
    inputs: tuple[np.ndarray, ...],
    rounding: Rounding = Rounding.DOUBLE,
    *,
    every: bool = False,
    sequences: int = 1,
) -> dict[str, np.ndarray]:
    """The outputs by name, for runs one after the other: each starts with what the one before it left in the states.

    The first starts with the states' first contents. Other arguments and the result are those of :func:`interpret`, and
    so is what it computes of a graph without states; axis 0 counts the runs in their order.

    Args:
        graph: checked.
        inputs: see :func:`interpret`.
        rounding: see :func:`interpret`.
        every: see :func:`interpret`.
        sequences: that lie behind each other along axis 0, equally long; each begins with the first contents. They are
            computed side by side, so that many take little longer than one.

    Raises:
        ValueError: the runs are no multiple of the sequences.
    """
    runs = _runs(graph, inputs)
    if runs % sequences:
        raise ValueError(f"sequences: expected a number that divides {runs} runs, got {sequences}")
    if not graph.states:
        return interpret(graph, inputs, rounding, every=every)
    parts = parts_of(graph)
    if every or len(parts) == 1:
        return _run_by_run(graph, inputs, rounding, every=every, sequences=sequences)
    known = dict(zip(graph.inputs, inputs, strict=True))
    for part in parts:
        given = tuple(known[name] for name in part.inputs)
        if part.states:
            known |= _run_by_run(part, given, rounding, every=False, sequences=sequences)
        else:
            known |= _some_at_once(part, given, rounding)
    return {name: known[name] for name in graph.outputs}


def _some_at_once(graph: Graph, inputs: tuple[np.ndarray, ...], rounding: Rounding) -> dict[str, np.ndarray]:
    """:func:`interpret`, of as many runs at once as take little memory."""
    runs, held = _runs(graph, inputs), sum(v.elements for v in graph.values.values() if v.data is None)
    together = max(1, _TOGETHER // max(1, held))
    rows = [len(array) // runs for array in inputs]
    found = [
        interpret(graph, tuple(a[at * n : (at + together) * n] for a, n in zip(inputs, rows, strict=True)), rounding)
        for at in range(0, runs, together)
    ]
    return {name: np.concatenate([each[name] for each in found]) for name in graph.outputs}


def _run_by_run(
    graph: Graph, inputs: tuple[np.ndarray, ...], rounding: Rounding, *, every: bool, sequences: int
) -> dict[str, np.ndarray]:
    """See :func:`interpret_sequence`."""
    # Tensors of one run are small: threads would wait for one another longer than they work.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run_after_run(graph, inputs, rounding, every=every, sequences=sequences)
    finally:
        torch.set_num_threads(threads)


def _run_after_run(
    graph: Graph, inputs: tuple[np.ndarray, ...], rounding: Rounding, *, every: bool, sequences: int
) -> dict[str, np.ndarray]:
    runs = _runs(graph, inputs)
    states = {state.value: np.concatenate([state.first] * sequences) for state in graph.states}
    steps_of = [_in_steps(array, sequences, runs // sequences) for array in inputs]
    parts: list[dict[str, np.ndarray]] = []
    for step in range(runs // sequences):
        of_step = tuple(array[step] for array in steps_of)
        computed = _run(graph, of_step, states, rounding, every=every, also=graph.sinks)
        states = {state.value: computed[state.after] for state in graph.states}
        parts.append(computed)
    wanted = parts[0] if every else graph.outputs
    return {name: _in_sequences([part[name] for part in parts], sequences) for name in wanted}


def _in_steps(array: np.ndarray, sequences: int, steps: int) -> np.ndarray:
    """``[sequences * steps * rows, ...]`` as ``[steps, sequences * rows, ...]``."""
    apart = array.reshape(sequences, steps, -1, *array.shape[1:]).swapaxes(0, 1)
    return apart.reshape(steps, -1, *array.shape[1:])


def _in_sequences(steps: Sequence[np.ndarray], sequences: int) -> np.ndarray:
    """The opposite of :func:`_in_steps`."""
    rest = steps[0].shape[1:]
    apart = np.stack(steps).reshape(len(steps), sequences, -1, *rest).swapaxes(0, 1)
    return np.ascontiguousarray(apart).reshape(-1, *rest)


def _runs(graph: Graph, inputs: tuple[np.ndarray, ...]) -> int:
    """How many runs the samples are for."""
    return len(inputs[0]) // graph.values[graph.inputs[0]].shape[0]


def _run(
    graph: Graph,
    inputs: tuple[np.ndarray, ...],
    states: Mapping[str, np.ndarray],
    rounding: Rounding,
    *,
    every: bool,
    also: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """What all ops make of inputs and states: the outputs and what else is asked for."""
    tensors: dict[str, Tensor] = {name: widened(data) for name, data in graph.contents().items()}
    tensors |= {name: widened(array) for name, array in zip(graph.inputs, inputs, strict=True)}
    tensors |= {name: widened(array) for name, array in states.items()}
    kept = dict.fromkeys((*graph.outputs, *also))
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for index, node in enumerate(steps(graph.nodes, "layers of the integer reference")):
        codes = {role: tensors[name] for role, name in node.input_roles().items()}
        grids = {role: q.grid for role, q in graph.qparams(node).items() if q is not None}
        if graph.is_float(node):
            results = float_reference(node, codes, grids)
        else:
            results = node.row.reference(node.attrs, codes, grids, rounding)
        tensors |= zip(node.outputs, (results,) if isinstance(results, Tensor) else results, strict=True)
        if not every:
            for name in {n for n in node.inputs if last_use[n] == index} - set(kept):
                del tensors[name]
    wanted = [n for n in tensors if graph.values[n].data is None or n in kept] if every else list(kept)
    found = {name: tensors[name].to(getattr(torch, graph.values[name].dtype)).numpy() for name in wanted}
    runs, same = _runs(graph, inputs), _same_in_each_run(graph)
    return {name: np.concatenate([array] * runs) if name in same else array for name, array in found.items()}


def _same_in_each_run(graph: Graph) -> set[str]:
    """Values that hang on no input and no state, of which there is one for all samples."""
    found = set(graph.constants())
    for node in graph.nodes:
        found |= set(node.outputs) if found.issuperset(node.inputs) else set()
    return found


def widened(array: np.ndarray) -> Tensor:
    """int64 for integers, so that no intermediate wraps; floats as float32."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def float_reference(node: Node, tensors: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> Tensor:
    """What a float kernel computes, up to the order of its sums: the row's float function on the device's axes.

    Args:
        node: whose activations are float32.
        tensors: by role; float32, an integer weight as int64.
        grids: of an integer weight, else empty.
    """
    row = node.row
    operands = dict(tensors)
    if "weight" in grids and node.op != "dequantize":
        axis = row.constraints["weight"].axis  # type: ignore[attr-defined]
        operands["weight"] = dequantize(operands["weight"], grids["weight"], axis)
    for role, order in row.weight_order.items():
        if role in operands:
            operands[role] = operands[role].permute([order.index(axis) for axis in range(len(order))])
    if not row.channels_last:
        result: Tensor = row.forward(node.attrs, operands)
        return result
    images = set(row.input_roles(row.runtime))
    operands = {role: x.permute(0, 3, 1, 2) if role in images else x for role, x in operands.items()}
    return row.forward(node.attrs, operands).permute(0, 2, 3, 1)
