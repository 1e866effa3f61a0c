"""A row's sample as a graph of one op, and what the row's own functions compute of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from export.graph.interpret import float_reference, widened
from export.graph.ir import Graph, Node, State, Value, check
from export.graph.passes.frozen import frozen
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.qparams import INDICES
from qtorch.row.row import Row, Sample

__all__ = ["batch_of", "carried_by", "float_outputs", "reference_outputs", "runtime_arrays", "sample_graph"]


def sample_graph(row: Row, sample: Sample, batch: int = 1) -> Graph:
    """The graph of one op, for ``batch`` samples at a time; values are named as their roles.

    Raises:
        MalformedGraph: the sample's grids are none that the row's constraints allow.
    """
    values = {}
    roles, carried = _roles(row, sample), carried_by(row, sample)
    fixed = sample.constants | set(() if row.variadic else row.roles[row.runtime :])
    for role in roles:
        array, constant = sample.arrays[role], role in fixed and role not in carried
        shape = array.shape if role in fixed else (batch, *array.shape[1:])
        values[role] = Value(shape, sample.qparams[role], array if constant else None)
    outputs = _outputs(sample)
    # All samples of the case have one shape, and the first alone is soon computed.
    for role, tensor in zip(outputs, _first_outputs(row, sample)[: len(outputs)], strict=True):
        values[role] = Value((batch, *tensor.shape[1:]), sample.qparams[role])
    states = tuple(State(role, f"next_{role}", sample.arrays[role]) for role in carried)
    values |= {state.after: values[state.value] for state in states}
    node = Node(row.name, sample.attrs, roles, (*outputs, *(state.after for state in states)))
    inputs = tuple(role for role in roles if role not in fixed)
    return frozen(check(Graph(values, (node,), inputs, outputs, states=states)))


def carried_by(row: Row, sample: Sample) -> tuple[str, ...]:
    """Roles of what a run takes from the one before it."""
    return tuple(role for role in row.carried if role in sample.arrays)


def _roles(row: Row, sample: Sample) -> tuple[str, ...]:
    return tuple(role for role in row.input_roles(len(sample.arrays)) if role in sample.arrays)


def _outputs(sample: Sample) -> tuple[str, ...]:
    return tuple(role for role in sample.qparams if role.startswith("output"))


def reference_outputs(row: Row, sample: Sample, rounding: Rounding = Rounding.DOUBLE) -> tuple[np.ndarray, ...]:
    """The outputs' codes for the sample's batch, as the row's integer reference has them.

    Where the row carries something, the batch is one run after the other.
    """
    codes = {role: widened(array) for role, array in sample.arrays.items()}
    carried = carried_by(row, sample)
    if not carried:
        return tuple(tensor.numpy() for tensor in _computed(row, sample, codes, rounding))
    outputs = []
    for run in range(batch_of(sample)):
        output, *after = _computed(row, sample, _of_run(row, sample, codes, run), rounding)
        codes |= zip(carried, after, strict=True)
        outputs.append(output.numpy())
    return (np.concatenate(outputs),)


def _first_outputs(row: Row, sample: Sample) -> tuple[Tensor, ...]:
    """The outputs of the first sample of the batch, and what is carried behind it."""
    codes = {role: widened(array) for role, array in sample.arrays.items()}
    return _computed(row, sample, _of_run(row, sample, codes, 0), Rounding.DOUBLE)


def _of_run(row: Row, sample: Sample, codes: dict[str, Tensor], run: int) -> dict[str, Tensor]:
    """One sample of a batch, beside constants and what is carried."""
    constant = {*sample.constants, *(() if row.variadic else row.roles[row.runtime :])}
    return {role: x if role in constant else x[run : run + 1] for role, x in codes.items()}


def _computed(row: Row, sample: Sample, codes: dict[str, Tensor], rounding: Rounding) -> tuple[Tensor, ...]:
    grids = {role: q.grid for role, q in sample.qparams.items() if q is not None}
    computed = row.reference(sample.attrs, codes, grids, rounding)
    return (computed,) if isinstance(computed, Tensor) else tuple(computed)


@torch.no_grad()
def float_outputs(row: Row, sample: Sample) -> tuple[np.ndarray, ...]:
    """What the row's float function makes of the numbers that the sample's codes stand for."""
    numbers = {
        role: widened(a if (q := sample.qparams[role]) is None or q == INDICES else q.dequantize(a))
        for role, a in sample.arrays.items()
    }
    node = Node(row.name, sample.attrs, _roles(row, sample), _outputs(sample))
    computed = float_reference(node, numbers, {})
    return tuple(tensor.numpy() for tensor in ((computed,) if isinstance(computed, Tensor) else computed))


def batch_of(sample: Sample) -> int:
    """How many samples the case has; where the row carries something, runs one after the other."""
    return len(next(array for role, array in sample.arrays.items() if role not in sample.constants))


def runtime_arrays(graph: Graph, sample: Sample) -> tuple[np.ndarray, ...]:
    """What :func:`sample_graph` is fed with."""
    return tuple(sample.arrays[role] for role in graph.inputs)
