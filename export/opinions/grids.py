"""Any .tflite file's ops and quantization, with the schema alone: to lay one converter's file beside another's.

Unlike :mod:`export.tflite.reader`, which refuses what this project can't have written, it takes what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = [
    "ForeignOp",
    "ForeignTensor",
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
class ForeignTensor:
    """A tensor of a file; scales as float32 bits would have it, none of a float tensor."""

    index: int
    name: str
    shape: tuple[int, ...]
    constant: bool
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]


@dataclass(frozen=True)
class ForeignOp:
    """An op of a file, in the order of execution."""

    name: str
    inputs: tuple[ForeignTensor, ...]
    outputs: tuple[ForeignTensor, ...]


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


@cache
def _operator_names() -> dict[int, str]:
    return {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def ends(model: bytes) -> tuple[list[ForeignTensor], list[ForeignTensor]]:
    """Inputs and outputs of the first subgraph."""
    root = schema.Model.GetRootAs(bytearray(model))
    tensors, subgraph = _tensors(root), root.Subgraphs(0)
    sources, sinks = (np.atleast_1d(vector) for vector in (subgraph.InputsAsNumpy(), subgraph.OutputsAsNumpy()))
    return [tensors[i] for i in sources], [tensors[i] for i in sinks]


def operators(model: bytes) -> tuple[ForeignOp, ...]:
    """The ops of the first subgraph."""
    root = schema.Model.GetRootAs(bytearray(model))
    tensors, subgraph = _tensors(root), root.Subgraphs(0)
    found = []
    for i in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(i)
        code = root.OperatorCodes(operator.OpcodeIndex())
        # The wider field is 0 in files of old writers.
        name = _operator_names()[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        ends = (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
        # -1 stands for an operand that is left out.
        inputs, outputs = (tuple(tensors[j] for j in np.atleast_1d(end) if j >= 0) for end in ends)
        found.append(ForeignOp(name, inputs, outputs))
    return tuple(found)


def _tensors(root: schema.Model) -> list[ForeignTensor]:
    subgraph = root.Subgraphs(0)
    return [_tensor(root, subgraph.Tensors(i), i) for i in range(subgraph.TensorsLength())]


def _tensor(root: schema.Model, tensor: schema.Tensor, index: int) -> ForeignTensor:
    quantization = tensor.Quantization()
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    if quantization is not None and quantization.ScaleLength():
        scale = tuple(float(x) for x in quantization.ScaleAsNumpy())
        zero_point = tuple(int(x) for x in np.atleast_1d(quantization.ZeroPointAsNumpy()))
    shape = tuple(int(n) for n in np.atleast_1d(tensor.ShapeAsNumpy())) if tensor.ShapeLength() else ()
    constant = root.Buffers(tensor.Buffer()).DataLength() > 0
    return ForeignTensor(index, (tensor.Name() or b"").decode(), shape, constant, scale, zero_point)


def computing(ops: Sequence[ForeignOp]) -> list[ForeignOp]:
    """Those that are more than a copy. A depthwise convolution counts as one: of one channel, some write this one, some
    that.
    """
    return [replace(op, name=op.name.removeprefix("DEPTHWISE_")) for op in ops if op.name not in _MOVING]


def counterparts(a: bytes, b: bytes) -> dict[str, ForeignTensor]:
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
    found: dict[str, ForeignTensor] = {}
    for first, second in tensors:
        if not first.constant and not second.constant:
            found.setdefault(second.name, first)
    for op in operators(b):
        if op.name in _MOVING and op.inputs[0].name in found:
            found.setdefault(op.outputs[0].name, found[op.inputs[0].name])
    return found


def grid_agreement(ours: bytes, theirs: bytes) -> GridAgreement | None:
    """Op by op, operand by operand, where both files have the same computing ops in the same order.

    Biases follow from the other scales and are left out. ``None`` if theirs is of floats.
    """
    if not any(tensor.scale for op in operators(theirs) for tensor in op.inputs):
        return None
    pair = [computing(operators(model)) for model in (ours, theirs)]
    if [op.name for op in pair[0]] != [op.name for op in pair[1]]:
        return GridAgreement(0, 0, 0.0)
    seen: dict[int, tuple[ForeignTensor, ForeignTensor]] = {}
    for a, b in zip(*pair, strict=True):
        for mine, other in (*zip(a.inputs[:2], b.inputs[:2], strict=False), *zip(a.outputs, b.outputs, strict=False)):
            if mine.scale:
                seen.setdefault(mine.index, (mine, other))
    equal = sum((a.scale, a.zero_point) == (b.scale, b.zero_point) for a, b in seen.values())
    apart = [_relative(a.scale, b.scale) for a, b in seen.values() if len(a.scale) == len(b.scale)]
    return GridAgreement(len(seen), equal, max(apart, default=0.0))


def _relative(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(np.max(np.abs(np.array(a) / np.array(b) - 1)))
