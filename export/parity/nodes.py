"""Parity where float arithmetic is involved: every node judged by itself, on the very tensors that an engine gave it.

Integer nodes must be equal exactly (in an engine that rounds once, as LiteRT does, to what the row declares), so must
QUANTIZE and what only picks elements. What float kernels compute may differ from the row's float function in the order
of sums, and by what LiteRT's hybrid kernels lose by quantizing their input on the fly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.engines import InspectableEngine
from export.graph.interpret import float_reference, widened
from export.graph.ir import Graph, Node
from qtorch.errors import BadConfiguration, ParityError
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.progress import stage
from qtorch.row.constraints import SymmetricWeight

__all__ = ["NodeParity", "node_parity"]

#: Of float sums, against what is summed; float32 has 2**-24, and kernels add thousands of terms one after another.
_TOLERANCE = 2.0**-19

#: Samples that are compared at a time.
_CHUNK = 64


@dataclass(frozen=True)
class NodeParity:
    """How one engine's nodes compare.

    Attributes:
        engine: its name.
        inputs: samples that it ran.
        integer_outputs: results of integer nodes and QUANTIZE, all equal.
        float_outputs: results of float nodes.
        largest: float error over what is allowed, the worst of all; at most 1.
    """

    engine: str
    inputs: int
    integer_outputs: int
    float_outputs: int
    largest: float


def node_parity(
    graph: Graph,
    model: bytes,
    inputs: tuple[np.ndarray, ...],
    engine: InspectableEngine,
    places: Mapping[str, int] | None = None,
) -> NodeParity:
    """Run ``engine`` on every sample and each node's reference on what the engine had at its inputs.

    Args:
        graph: of the model.
        model: its file.
        inputs: samples of each input, ``[N, ...]``.
        engine: with ``tensors``.
        places: the file's index of each value of the graph; by default they stand in the same order.

    Raises:
        ParityError: an integer node differs at all, or a float node by more than float arithmetic explains; names it.
        BadConfiguration: the graph has states, which no engine shows as they are before a node and behind it.
    """
    if graph.states:
        raise BadConfiguration(
            where=f"{engine.name}, node by node",
            expected="a graph that keeps nothing from one run to the next",
            got=f"{len(graph.states)} states, the first of them {graph.states[0].value!r}",
            remedy="compare the outputs of a graph of integers, or take the states in as inputs and outputs",
        )
    integers = floats = 0
    worst = 0.0
    alike, order = _same_for_all(graph), list(range(len(graph.values)))
    if places is not None:
        order = [places[name] for name in graph.values]
    for chunk in _chunks(model, inputs, engine, max(order) + 1):
        tensors = {
            name: np.concatenate(samples) if name not in alike else samples[0] if value.data is None else value.data
            for (name, value), samples in zip(graph.values.items(), _ordered(chunk, order), strict=True)
        }
        for node in graph.nodes:
            computed = _reference(graph, node, tensors, engine.rounding)
            for name, (wanted, allowed) in zip(node.outputs, computed, strict=True):
                got = tensors[name]
                if allowed is None:
                    integers += got.size
                    _require_equal(node, name, got, wanted, engine)
                else:
                    floats += got.size
                    worst = max(worst, error := _error(got, wanted, allowed))
                    if not error <= 1:
                        raise ParityError(
                            f"{engine.name}: {node.op} {name!r} is {error:.3g} times as far from the float function as "
                            "the order of sums explains"
                        )
    return NodeParity(engine.name, len(inputs[0]), integers, floats, worst)


def _ordered(chunk: list[list[np.ndarray]], order: list[int]) -> Iterator[list[np.ndarray]]:
    """Each value's samples."""
    return ([sample[index] for sample in chunk] for index in order)


def _chunks(
    model: bytes, inputs: tuple[np.ndarray, ...], engine: InspectableEngine, count: int
) -> Iterator[list[list[np.ndarray]]]:
    """The first tensors of some samples at a time, as the engine has them."""
    samples_of_tensors = engine.tensors(model, inputs, count)
    with stage(f"{engine.name}, node by node", len(inputs[0])) as progress:
        while chunk := list(itertools.islice(samples_of_tensors, _CHUNK)):
            yield chunk
            progress.advance(len(chunk))


def _same_for_all(graph: Graph) -> set[str]:
    """Constants, and what is computed of them alone."""
    alike = set(graph.constants())
    for node in graph.nodes:
        if alike.issuperset(node.inputs):
            alike |= set(node.outputs)
    return alike


def _reference(
    graph: Graph, node: Node, tensors: dict[str, np.ndarray], rounding: Rounding
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """What a node should have computed, each output with how far a float result may lie from it."""
    codes = {role: widened(tensors[name]) for role, name in node.input_roles().items()}
    grids = {role: q.grid for role, q in graph.qparams(node).items() if q is not None}
    in_float = graph.is_float(node)
    results = (
        float_reference(node, codes, grids) if in_float else node.row.reference(node.attrs, codes, grids, rounding)
    )
    arrays = [part.numpy() for part in (results if isinstance(results, tuple) else (results,))]
    if not in_float and node.op != "dequantize":
        return [(array, None) for array in arrays]
    return [(array, _allowed(node, array, codes, grids)) for array in arrays]


def _allowed(node: Node, result: np.ndarray, codes: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> np.ndarray:
    """How far each sample of a float result may lie from ``result``, ``[N, 1, ...]``."""
    if node.row.selects:
        return np.zeros(1)
    summed, lost = torch.from_numpy(result).new_zeros(1), 0.0
    if "input" not in grids:
        # What is summed may be larger than the sum.
        gain = _gain(node, codes["weight"], grids.get("weight")) if "weight" in codes else 1.0
        summed = gain * _largest(codes["input"])
        # Half a step of the input as a hybrid kernel quantizes it, by every weight.
        lost = 0.51 / 127 if "weight" in grids else 0.0
    others = [x for role, x in codes.items() if role not in ("input", "weight", "bias") and node.row.states is None]
    allowed = (_largest(torch.from_numpy(result)) + summed + sum(map(_largest, others))) * _TOLERANCE + summed * lost
    return allowed.reshape(-1, *[1] * (result.ndim - 1)).numpy()


def _largest(x: Tensor) -> Tensor:
    """Finite magnitude in each sample, float32 ``[N]``."""
    return torch.nan_to_num(x, 0.0, 0.0, 0.0).abs().reshape(len(x), -1).amax(1)


def _gain(node: Node, weight: Tensor, grid: Grid | None) -> float:
    """By how much the weights of one output can enlarge the input."""
    demand = node.row.constraints["weight"]
    if not isinstance(demand, SymmetricWeight):
        return float(weight.abs().max())
    sums = weight.abs().to(torch.float64).movedim(demand.axis, 0).flatten(1).sum(1)
    return float((sums if grid is None else sums * grid.scale).max())


def _error(got: np.ndarray, wanted: np.ndarray, allowed: np.ndarray) -> float:
    """The largest error over what is allowed; what is equal, infinities too, has none."""
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.abs(got.astype(np.float64) - wanted) / allowed
    return float(np.where(same, 0.0, ratios).max(initial=0.0))


def _require_equal(node: Node, name: str, got: np.ndarray, wanted: np.ndarray, engine: InspectableEngine) -> None:
    allowed = 0 if engine.rounding is Rounding.DOUBLE else node.row.litert_lsb.get(got.dtype.name, 0)
    wrong = np.argwhere(np.abs(got.astype(np.int64) - wanted) > allowed)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ParityError(
            f"{engine.name} differs from the integer reference on {len(wrong)} of {got.size} outputs of {node.op} "
            f"{name!r}, first at {list(at)}: reference {wanted[at]}, {engine.name} {got[at]}"
        )
