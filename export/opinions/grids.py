"""Any .tflite file's ops and quantization, to lay one converter's file beside another's.

Unlike :mod:`export.tflite.reader`, which refuses what this project can't have written, this takes what
:mod:`export.tflite.contents` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.tflite.contents import read_contents
from export.tflite.file_data import FileSubgraph, FileTensor

__all__ = [
    "ForeignOp",
    "GridAgreement",
    "computing",
    "counterparts",
    "ends",
    "grid_agreement",
    "operators",
]

#: What moves codes, pads them with zeros or changes their grid at the ends, and computes nothing.
_MOVING = frozenset({"RESHAPE", "TRANSPOSE", "PAD", "QUANTIZE", "DEQUANTIZE", "SQUEEZE", "EXPAND_DIMS"})


@dataclass(frozen=True)
class ForeignOp:
    """An op of a file, in the order of execution."""

    name: str
    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]


@dataclass(frozen=True)
class GridAgreement:
    """Scales and zero points of two files, tensor by tensor.

    Attributes:
        tensors: run-time tensors and weights that were compared; 0 where the files do not have the same ops.
        equal: of these, with every scale equal as float32 and every zero point.
        largest: relative difference of two scales, of tensors with as many.
    """

    tensors: int
    equal: int
    largest: float


def ends(model: bytes) -> tuple[list[FileTensor], list[FileTensor]]:
    """Inputs and outputs of the first subgraph."""
    graph = read_contents(model).subgraphs[0]
    return _tensors(graph, graph.inputs), _tensors(graph, graph.outputs)


def operators(model: bytes) -> tuple[ForeignOp, ...]:
    """The ops of the first subgraph."""
    graph = read_contents(model).subgraphs[0]
    return tuple(
        ForeignOp(each.name, tuple(_tensors(graph, each.inputs)), tuple(_tensors(graph, each.outputs)))
        for each in graph.operators
    )


def _tensors(graph: FileSubgraph, indices: Sequence[int]) -> list[FileTensor]:
    """Those that are there: -1 stands for an operand that is left out."""
    return [graph.tensors[index] for index in indices if index >= 0]


def computing(ops: Sequence[ForeignOp]) -> list[ForeignOp]:
    """Those that are more than a copy. A depthwise convolution counts as one: of one channel, some write this one, some
    that.
    """
    return [replace(op, name=op.name.removeprefix("DEPTHWISE_")) for op in ops if op.name not in _MOVING]


def counterparts(a: bytes, b: bytes) -> dict[str, FileTensor]:
    """For each run-time tensor of ``b``, by name, the one of ``a`` that is the same step of the same computation.

    Where both have the same computing ops in the same order; else none. A tensor that is a copy of another, transposed
    or reshaped, has its counterpart.
    """
    pair = [computing(operators(model)) for model in (a, b)]
    if [op.name for op in pair[0]] != [op.name for op in pair[1]]:
        return {}
    tensors = list(zip((t for end in ends(a) for t in end), (t for end in ends(b) for t in end), strict=True))
    for mine, other in zip(*pair, strict=True):
        tensors += [*zip(mine.inputs, other.inputs, strict=False), *zip(mine.outputs, other.outputs, strict=False)]
    counterpart_of: dict[str, FileTensor] = {}
    for first, second in tensors:
        if not first.constant_bytes and not second.constant_bytes:
            counterpart_of.setdefault(second.name, first)
    for op in operators(b):
        if op.name in _MOVING and op.inputs[0].name in counterpart_of:
            counterpart_of.setdefault(op.outputs[0].name, counterpart_of[op.inputs[0].name])
    return counterpart_of


def grid_agreement(ours: bytes, theirs: bytes) -> GridAgreement | None:
    """Op by op, operand by operand, where both files have the same computing ops in the same order.

    Biases follow from the other scales and are left out. ``None`` if theirs is of floats.
    """
    if not any(tensor.scale for op in operators(theirs) for tensor in op.inputs):
        return None
    pair = [computing(operators(model)) for model in (ours, theirs)]
    if [op.name for op in pair[0]] != [op.name for op in pair[1]]:
        return GridAgreement(0, 0, 0.0)
    seen: dict[int, tuple[FileTensor, FileTensor]] = {}
    for a, b in zip(*pair, strict=True):
        for mine, other in (*zip(a.inputs[:2], b.inputs[:2], strict=False), *zip(a.outputs, b.outputs, strict=False)):
            if mine.scale:
                seen.setdefault(mine.index, (mine, other))
    equal = sum((a.scale, a.zero_point) == (b.scale, b.zero_point) for a, b in seen.values())
    apart = [_relative(a.scale, b.scale) for a, b in seen.values() if len(a.scale) == len(b.scale)]
    return GridAgreement(len(seen), equal, max(apart, default=0.0))


def _relative(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(np.max(np.abs(np.array(a) / np.array(b) - 1)))
