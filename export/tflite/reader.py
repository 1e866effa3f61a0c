"""The .tflite bytes back to a Graph, with the schema alone: what a parity check compares with the network.

Strict on purpose: a file that this project can't have written is refused before any interpreter sees it.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.graph.ir import Graph, MalformedGraph, Node, Value, check
from export.tflite.writer import ALIGNMENT, IDENTIFIER, tflite_cell
from qtorch.errors import BadModelFile
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import TFLite

__all__ = ["read_tflite", "require_identifier"]

_REMEDY = "pass a file that this project exported, or export it again"


def require_identifier(model: bytes, where: str, remedy: str) -> None:
    """Refuse bytes that do not begin as a .tflite file does.

    Raises:
        BadModelFile: they do not.
    """
    if len(model) < 8 or model[4:8] != IDENTIFIER:
        raise BadModelFile(
            where=where,
            expected=f"a .tflite file with identifier {IDENTIFIER!r}",
            got=f"{len(model)} bytes with {model[4:8]!r} in its place",
            remedy=remedy,
        )


def read_tflite(model: bytes, where: str = "model", *, aligned: bool = True) -> Graph:
    """The graph in a model file; values are named ``t0``, ``t1``, ... in the file's order.

    Args:
        model: the whole file.
        where: what to call it in an error.
        aligned: refuse constants that do not lie as this project's writer puts them; TensorFlow's do not always.

    Raises:
        BadModelFile: truncated, no .tflite, or with an operator, type or quantization that no row has.
    """
    require_identifier(model, where, _REMEDY)
    try:
        if aligned:
            _require_alignment(model)
        return check(_read(model))
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, MalformedGraph) as error:
        raise BadModelFile(
            where=where, expected="a complete int8 model of supported ops", got=f"{error}", remedy=_REMEDY
        ) from error


def _read(model: bytes) -> Graph:
    root = schema.Model.GetRootAs(bytearray(model))
    if root.SubgraphsLength() != 1:
        raise ValueError(f"{root.SubgraphsLength()} subgraphs instead of one")
    subgraph = root.Subgraphs(0)
    tensors = [subgraph.Tensors(i) for i in range(subgraph.TensorsLength())]
    nodes, operands = [], set[int]()
    for i in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(i)
        op = _op(root, operator)
        indices = _indices(_given(operator.InputsAsNumpy()), len(tensors))
        attrs = _attrs(tflite_cell(op), operator)
        for operand in reversed(tflite_cell(op).operands):
            index = indices.pop(operand.position)
            attrs[operand.attr] = _operand(root, tensors[index])
            operands.add(index)
        _require_roles(op, len(indices))
        made = _names(_indices(operator.OutputsAsNumpy(), len(tensors)))
        nodes.append(Node(op, attrs, _in_row_order(op, _names(indices)), made))
    values = {f"t{i}": _value(root, tensor) for i, tensor in enumerate(tensors) if i not in operands}
    inputs, outputs = subgraph.InputsAsNumpy(), subgraph.OutputsAsNumpy()
    sources, sinks = (_names(_indices(vector, len(tensors))) for vector in (inputs, outputs))
    return Graph(values, tuple(nodes), sources, sinks)


def _require_alignment(model: bytes) -> None:
    root = schema.Model.GetRootAs(bytearray(model))
    for index in range(1, root.BuffersLength()):
        buffer = root.Buffers(index)
        offset = buffer._tab.Vector(buffer._tab.Offset(4)) if buffer.DataLength() else 0
        if offset % ALIGNMENT:
            raise ValueError(f"constant buffer {index} at offset {offset}, not aligned to {ALIGNMENT}")


def _indices(indices: Any, count: int) -> list[int]:
    found = [int(i) for i in np.atleast_1d(indices)]
    if -1 in found:
        raise ValueError(f"tensor indices {found}, where -1 leaves out an input before another")
    if any(not 0 <= i < count for i in found):
        raise ValueError(f"tensor indices {found} of {count} tensors")
    return found


def _given(indices: Any) -> list[int]:
    """Without the inputs that are left out at the end: TensorFlow's converter writes -1 for a bias of zeros."""
    found = [int(i) for i in np.atleast_1d(indices)]
    while found and found[-1] == -1:
        found.pop()
    return found


def _require_roles(op: str, count: int) -> None:
    row = ROWS[op]
    absent = [] if row.variadic else [role for role in row.roles[count:] if role != "bias"]
    if absent:
        raise ValueError(f"{tflite_cell(op).operator} without its {', '.join(absent)}")


def _names(indices: list[int]) -> tuple[str, ...]:
    return tuple(f"t{i}" for i in indices)


def _in_row_order(op: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
    order = tflite_cell(op).order
    found = dict(zip(order, inputs, strict=False))
    return tuple(found[role] for role in ROWS[op].roles if role in found) if order else inputs


def _operand(root: Any, tensor: Any) -> Any:
    """An attribute out of a constant int32 tensor: an int, or nested tuples."""
    if tensor.Type() != schema.TensorType.INT32:
        raise ValueError(f"an operand of type code {tensor.Type()} instead of int32")
    data = _data(root.Buffers(tensor.Buffer()), tensor.Buffer(), "int32", _shape(tensor))
    if data is None:
        raise ValueError("an operand without data")
    return _plain(data.tolist())


def _plain(value: Any) -> Any:
    return tuple(_plain(v) for v in value) if isinstance(value, list) else value


_DTYPES = {getattr(schema.TensorType, name.upper()): name for name in (*CODE_RANGE, "float32", "float16")}


def _shape(tensor: Any) -> tuple[int, ...]:
    # A scalar's shape vector is empty, which the generated reader reports as 0.
    return tuple(int(d) for d in np.atleast_1d(tensor.ShapeAsNumpy())) if tensor.ShapeLength() else ()


def _value(root: Any, tensor: Any) -> Value:
    if tensor.Type() not in _DTYPES:
        raise ValueError(f"a tensor of type code {tensor.Type()} instead of {sorted(_DTYPES.values())}")
    dtype = _DTYPES[tensor.Type()]
    shape = _shape(tensor)
    qparams = None if dtype.startswith("float") else _qparams(tensor.Quantization(), dtype)
    data = _data(root.Buffers(tensor.Buffer()), tensor.Buffer(), dtype, shape)
    return Value(shape, qparams, data)


def _qparams(quantization: Any, dtype: str) -> QParams:
    if quantization is None or not quantization.ScaleLength() or not quantization.ZeroPointLength():
        raise ValueError(f"a quantized {dtype} tensor without scale or zero point")
    scale = tuple(float(s) for s in quantization.ScaleAsNumpy())
    zero_point = tuple(int(z) for z in quantization.ZeroPointAsNumpy())
    return QParams(scale, zero_point, dtype, quantization.QuantizedDimension() if len(scale) > 1 else None)


def _data(buffer: Any, index: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray | None:
    if index == 0 or not buffer.DataLength():
        return None
    raw = buffer.DataAsNumpy()
    if dtype == "int4":
        nibbles = np.stack([raw << 4, raw], -1).reshape(-1).view(np.int8) >> 4
        return nibbles[: math.prod(shape)].reshape(shape)
    array: np.ndarray = np.frombuffer(raw.tobytes(), np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)
    return array


def _op(root: Any, operator: Any) -> str:
    opcode = root.OperatorCodes(operator.OpcodeIndex())
    code = max(opcode.BuiltinCode(), opcode.DeprecatedBuiltinCode())
    cells = {
        getattr(schema.BuiltinOperator, row.tflite.operator): name
        for name, row in ROWS.items()
        if isinstance(row.tflite, TFLite)
    }
    if code not in cells:
        names = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
        supported = ", ".join(str(tflite_cell(name).operator) for name in cells.values())
        raise ValueError(f"operator {names.get(code, code)}; supported are {supported}")
    return cells[code]


def _attrs(cell: TFLite, operator: Any) -> dict[str, Any]:
    if cell.options is None:
        return {}
    if operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, cell.options):
        raise ValueError(f"{cell.operator} with options of type {operator.BuiltinOptionsType()}")
    table = getattr(schema, cell.options)()
    union = operator.BuiltinOptions()
    table.Init(union.Bytes, union.Pos)
    attrs: dict[str, Any] = {}
    for field in cell.fields:
        vector = getattr(table, f"{field.option}AsNumpy", None)
        value = _plain(vector().tolist()) if vector else getattr(table, field.option)()
        if field.enum is not None:
            members = {v: k.lower() for k, v in vars(getattr(schema, field.enum)).items() if not k.startswith("_")}
            if value not in members:
                raise ValueError(f"{cell.operator} with {field.option} {value}")
            value = members[value]
        attrs[field.attr] = value
    return attrs
