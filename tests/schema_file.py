"""A .tflite file put together from the schema's own classes, as another writer may have made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

__all__ = ["SchemaFile", "with_metadata"]


class SchemaFile:
    """One subgraph; tensors and operators are numbered in the order in which they are added.

    ``model`` is the schema's object, to be changed before :meth:`written`.
    """

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "MLIR Converted."
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        *,
        data: np.ndarray | None = None,
        name: str = "",
        axis: int = 0,
        end: str = "",
    ) -> int:
        """Index of a new tensor; ``end`` makes it an ``"input"`` or ``"output"`` of the file."""
        made = schema.TensorT()
        made.shape, made.type = list(shape), getattr(schema.TensorType, dtype.upper())
        made.name = name or f"tensor_{len(self.graph.tensors)}"
        if scale is not None:
            scales = [scale] if isinstance(scale, float) else list(scale)
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = scales, [zero_point] * len(scales)
            made.quantization.quantizedDimension = axis
        made.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        index = len(self.graph.tensors) - 1
        if end:
            getattr(self.graph, f"{end}s").append(index)
        return index

    def constant(self, data: np.ndarray, scale: float | Sequence[float] | None = None, **others: Any) -> int:
        """Index of a new constant of the array's type."""
        return self.tensor(data.shape, data.dtype.name, scale, data=data, **others)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        table: str | None = None,
        options: Mapping[str, Any] | None = None,
        version: int = 1,
        custom: bytes = b"",
    ) -> None:
        """A new operator; ``options`` by the fields' names in the schema's Python classes, ``custom`` as bytes."""
        kind, _, own = name.partition(":")
        number = getattr(schema.BuiltinOperator, kind)
        keys = [(code.builtinCode, code.customCode or "", code.version) for code in self.model.operatorCodes]
        if (number, own, version) not in keys:
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
            code.customCode = own or None
            self.model.operatorCodes.append(code)
            keys.append((number, own, version))
        made = schema.OperatorT()
        made.opcodeIndex = keys.index((number, own, version))
        made.customOptions = list(custom) or None
        made.inputs, made.outputs = list(inputs), list(outputs)
        if table is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            made.builtinOptions = getattr(schema, f"{table}T")()
            for field, value in (options or {}).items():
                setattr(made.builtinOptions, field, value)
        self.graph.operators.append(made)

    def written(self) -> bytes:
        """The file's bytes."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def with_metadata(model: bytes, data: bytes, name: str = "OfflineMemoryAllocation") -> bytes:
    """The same file with one more entry of metadata: a plan of TFLite Micro's arena, if it has no other name."""
    changed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(data, np.uint8)
    changed.buffers.append(buffer)
    entry.name, entry.buffer = name, len(changed.buffers) - 1
    changed.metadata = [*(changed.metadata or ()), entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(changed.Pack(builder), b"TFL3")
    return bytes(builder.Output())
