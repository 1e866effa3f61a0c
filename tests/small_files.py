"""Small .tflite files, written by the schema's object API as other programs' are: a line per tensor and operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.foreign_models import foreign_model

__all__ = ["Op", "Tensor", "small_file"]


@dataclass(frozen=True)
class Tensor:
    """One tensor; a constant has ``data``, of which the bytes are written as they are."""

    dtype: str
    shape: Sequence[int]
    data: np.ndarray | None = None
    scale: Sequence[float] = ()
    zero_point: Sequence[int] = ()
    axis: int = 0
    name: str = ""
    sparsity: Any = None


@dataclass(frozen=True)
class Op:
    """One operator, ``"CUSTOM:name"`` for a custom one; options by the schema's attribute names."""

    name: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    table: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def small_file(
    tensors: Sequence[Tensor], operators: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int],
    others: Sequence[tuple[Sequence[Tensor], Sequence[Op], Sequence[int], Sequence[int]]] = (),
) -> bytes:  # fmt: skip
    """The bytes of a model whose entry has these tensors and operators; ``others`` are further subgraphs."""
    model = schema.ModelT()
    model.version, model.description = 3, "small"
    model.buffers, model.operatorCodes, model.subgraphs = [schema.BufferT()], [], []
    for graph in ((tensors, operators, inputs, outputs), *others):
        model.subgraphs.append(_subgraph(model, *graph))
    return foreign_model(model)


def _subgraph(model: Any, tensors: Any, operators: Any, inputs: Any, outputs: Any) -> Any:
    graph = schema.SubGraphT()
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    graph.tensors = [_tensor(model, tensor) for tensor in tensors]
    graph.operators = [_operator(model, operator) for operator in operators]
    return graph


def _tensor(model: Any, tensor: Tensor) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.hasRank = tensor.name or None, list(tensor.shape), True
    made.type, made.buffer = getattr(schema.TensorType, tensor.dtype.upper()), 0
    made.sparsity = tensor.sparsity
    if tensor.scale:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale = list(tensor.scale)
        made.quantization.zeroPoint = list(tensor.zero_point or [0] * len(tensor.scale))
        made.quantization.quantizedDimension = tensor.axis
    if tensor.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
        model.buffers.append(buffer)
        made.buffer = len(model.buffers) - 1
    return made


def _operator(model: Any, operator: Op) -> Any:
    code = schema.OperatorCodeT()
    name, _, custom = operator.name.partition(":")
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version, code.customCode = min(code.builtinCode, 127), 1, custom or None
    model.operatorCodes.append(code)
    made = schema.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = list(operator.inputs), list(operator.outputs)
    if operator.table:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, operator.table)
        made.builtinOptions = getattr(schema, f"{operator.table}T")()
        for key, value in operator.options.items():
            assert hasattr(made.builtinOptions, key), (operator.table, key)
            setattr(made.builtinOptions, key, value)
    return made
