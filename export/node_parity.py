"""Parity where float arithmetic is involved: every node judged by itself, on the very tensors that an engine gave it.

Integer nodes must be equal exactly, so must QUANTIZE; what float kernels compute may differ from the row's float
function in the order of sums, and by what LiteRT's hybrid kernels lose by quantizing their input on the fly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export.engines import Engine
from export.interpret import real_reference, widened
from export.ir import Graph, Node
from qtorch.errors import ParityError
from qtorch.fixedpoint import Rounding
from qtorch.qparams import Grid

__all__ = ["NodeParity", "node_parity"]

#: Of float sums, against the largest result of the node; float32 has 2**-24.
_TOLERANCE = 2.0**-20


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


def node_parity(graph: Graph, model: bytes, inputs: tuple[np.ndarray, ...], engine: Engine) -> NodeParity:
    """Run ``engine`` on every sample and each node's reference on what the engine had at its inputs.

    Args:
        graph: of the model.
        model: its file.
        inputs: samples of each input, ``[N, ...]``.
        engine: with ``tensors``.

    Raises:
        ParityError: an integer node differs at all, or a float node by more than float arithmetic explains; names it.
    """
    integers = floats = 0
    worst = 0.0
    names = list(graph.values)
    single = Rounding.DOUBLE if engine.name == "tflm" else Rounding.SINGLE
    for found in engine.tensors(model, inputs, len(names)):
        tensors = {
            name: array if (data := graph.values[name].data) is None else data
            for name, array in zip(names, found, strict=True)
        }
        for node in graph.nodes:
            expected, allowed = _reference(graph, node, tensors, single)
            for name, wanted in zip(node.outputs, expected, strict=True):
                got = tensors[name]
                if allowed is None:
                    integers += got.size
                    _require_equal(node, name, got, wanted, engine)
                else:
                    floats += got.size
                    error = float((np.abs(got.astype(np.float64) - wanted) / allowed).max(initial=0.0))
                    worst = max(worst, error)
                    if not error <= 1:
                        raise ParityError(
                            f"{engine.name}: {node.op} {name!r} is {error:.3g} times as far from the float function as "
                            "the order of sums explains"
                        )
    return NodeParity(engine.name, len(inputs[0]), integers, floats, worst)


def _reference(
    graph: Graph, node: Node, tensors: dict[str, np.ndarray], rounding: Rounding
) -> tuple[list[np.ndarray], np.ndarray | float | None]:
    """What a node should have computed, and by how much a float result may differ."""
    codes = {role: widened(tensors[name]) for role, name in node.input_roles().items()}
    grids = {role: q.grid for role, q in graph.qparams(node).items() if q is not None}
    if not graph.is_real(node):
        found = node.row.reference(node.attrs, codes, grids, rounding)
        exact = node.op != "dequantize"
        arrays = [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]
        return arrays, None if exact else np.abs(arrays[0]).max(initial=0.0) * _TOLERANCE + 1e-30
    found = real_reference(node, codes, grids)
    arrays = [part.to(torch.float64).numpy() for part in (found if isinstance(found, tuple) else (found,))]
    sums = max(float(np.abs(array).max(initial=0.0)) for array in arrays)
    allowed: np.ndarray | float = sums * _TOLERANCE + 1e-6
    if "weight" in grids:
        allowed = allowed + _lost_on_the_fly(node, codes, grids)
    elif "weight" in codes:
        # Cancellation: the terms of a sum may be larger than the sum.
        allowed = allowed + float(codes["input"].abs().max()) * float(codes["weight"].abs().sum()) * _TOLERANCE / 16
    return arrays, allowed


def _lost_on_the_fly(node: Node, codes: Mapping[str, Tensor], grids: Mapping[str, Grid]) -> float:
    """Half a step of the input as a hybrid kernel quantizes it, by every weight: what an output can lose."""
    step = float(codes["input"].abs().max()) / 127
    axis = node.row.constraints["weight"].axis  # type: ignore[attr-defined]
    scale = grids["weight"].scale
    sums = codes["weight"].abs().to(torch.float32).movedim(axis, 0).flatten(1).sum(1) * scale
    return 0.51 * step * float(sums.max())


def _require_equal(node: Node, name: str, got: np.ndarray, wanted: np.ndarray, engine: Engine) -> None:
    wrong = np.argwhere(got != wanted)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise ParityError(
            f"{engine.name} differs from the integer reference on {len(wrong)} of {got.size} outputs of {node.op} "
            f"{name!r}, first at {list(at)}: reference {wanted[at]}, {engine.name} {got[at]}"
        )
