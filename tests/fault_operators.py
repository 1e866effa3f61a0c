"""Operators of files as other converters write them: one operator, made with the schema, read as any file is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.faults.fault import Operator
from export.faults.found import operators
from export.tflite.contents import read_contents
from tests.foreign_models import foreign_model

__all__ = ["Case", "T", "conv", "dense", "depthwise", "operator", "transposed"]

_SAME, _VALID = 0, 1
_BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "int4": 1}


@dataclass(frozen=True)
class T:
    """A tensor of an operator: shape, type, how many scales; constants have zeros."""

    shape: tuple[int, ...]
    dtype: str = "int8"
    scales: int = 1
    zero_point: int = 0
    constant: bool = False


@dataclass(frozen=True)
class Case:
    """A fault by its name, the smallest operator that has it with words of what is said, and one beside it."""

    fault: str
    hit: Operator
    words: str
    beside: Operator


def operator(name: str, inputs: Sequence[T | None], output: T, table: str = "", **options: Any) -> Operator:
    """The one operator of a file, as read from the file."""
    tensors = [tensor for tensor in (*inputs, output) if tensor is not None]
    model = schema.ModelT()
    model.version = 3
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    made = schema.OperatorT()
    positions = iter(range(len(tensors)))
    made.inputs = [-1 if tensor is None else next(positions) for tensor in inputs]
    made.outputs = [next(positions)]
    if table:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        made.builtinOptions = getattr(schema, f"{table}T")()
        for option, value in options.items():
            assert hasattr(made.builtinOptions, option), option
            setattr(made.builtinOptions, option, value)
    graph = schema.SubGraphT()
    buffers = [schema.BufferT()]
    graph.tensors = [_tensor(tensor, buffers) for tensor in tensors]
    graph.inputs = [index for index, tensor in enumerate(tensors[:-1]) if not tensor.constant]
    graph.outputs, graph.operators = made.outputs, [made]
    model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], buffers
    (read,) = operators(read_contents(foreign_model(model)))
    return read


def _tensor(tensor: T, buffers: list[Any]) -> Any:
    made = schema.TensorT()
    made.shape, made.hasRank = list(tensor.shape), True
    made.type = getattr(schema.TensorType, tensor.dtype.upper())
    if tensor.constant:
        data = schema.BufferT()
        data.data = np.zeros(prod(tensor.shape) * _BYTES[tensor.dtype], np.uint8)
        made.buffer = len(buffers)
        buffers.append(data)
    quantization = schema.QuantizationParametersT()
    quantization.scale = [0.5] * tensor.scales
    quantization.zeroPoint = [tensor.zero_point] * tensor.scales
    made.quantization = quantization
    return made


def _out(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    return -(-size // stride) if same else (size - (kernel - 1) * dilation - 1) // stride + 1


def conv(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    same: bool = False,
    channels: int = 4,
    outputs: int = 4,
    groups: int = 1,
    dilation: tuple[int, int] = (1, 1),
    dtype: str = "int8",
    weights: str = "int8",
    bias: str = "int32",
) -> Operator:
    """A CONV_2D; ``bias`` may be empty."""
    height, width = (_out(n, k, s, d, same) for n, k, s, d in zip(size, kernel, stride, dilation, strict=True))
    inputs = [
        T((1, *size, channels), dtype),
        T((outputs, *kernel, channels // groups), weights, outputs, constant=True),
    ]
    return operator(
        "CONV_2D", [*inputs, *([T((outputs,), bias, constant=True)] if bias else [])],
        T((1, height, width, outputs), dtype), "Conv2DOptions", padding=_SAME if same else _VALID,
        strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0], dilationWFactor=dilation[1],
    )  # fmt: skip


def depthwise(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    same: bool = False,
    channels: int = 16,
    multiplier: int = 1,
    zero_point: int = 3,
    dtype: str = "int8",
    weights: str = "int8",
    bias: str = "int32",
) -> Operator:
    """A DEPTHWISE_CONV_2D; ``bias`` may be empty."""
    height, width = (_out(n, k, s, 1, same) for n, k, s in zip(size, kernel, stride, strict=True))
    outputs = channels * multiplier
    inputs = [T((1, *size, channels), dtype, 1, zero_point), T((1, *kernel, outputs), weights, outputs, constant=True)]
    return operator(
        "DEPTHWISE_CONV_2D", [*inputs, *([T((outputs,), bias, constant=True)] if bias else [])],
        T((1, height, width, outputs), dtype), "DepthwiseConv2DOptions", padding=_SAME if same else _VALID,
        strideH=stride[0], strideW=stride[1], depthMultiplier=multiplier, dilationHFactor=1, dilationWFactor=1,
    )  # fmt: skip


def transposed(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    output: tuple[int, int],
    *,
    same: bool = True,
    channels: int = 4,
) -> Operator:
    """A TRANSPOSE_CONV."""
    return operator(
        "TRANSPOSE_CONV",
        [T((4,), "int32", constant=True), T((3, *kernel, channels), scales=3, constant=True), T((1, *size, channels))],
        T((1, *output, 3)), "TransposeConvOptions",
        padding=_SAME if same else _VALID, strideH=stride[0], strideW=stride[1],
    )  # fmt: skip


def dense(
    depth: int,
    outputs: int = 4,
    rows: tuple[int, ...] = (1,),
    *,
    scales: int = 1,
    dtype: str = "int8",
    weights: str = "int8",
    bias: str = "int32",
) -> Operator:
    """A FULLY_CONNECTED whose output has the axes ``rows`` and one of outputs."""
    inputs = [T((*rows, depth), dtype), T((outputs, depth), weights, scales, constant=True)]
    return operator(
        "FULLY_CONNECTED", [*inputs, T((outputs,), bias, constant=True)], T((*rows, outputs), dtype),
        "FullyConnectedOptions",
    )  # fmt: skip
