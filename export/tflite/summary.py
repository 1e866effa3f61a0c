"""What stands in a .tflite file, whoever wrote it: ops, tensors, quantization, sizes, metadata.

Unlike :mod:`export.tflite.reader` this takes what it finds: floats, dynamic shapes, several subgraphs, custom ops and
operators newer than the schema. Only what is no complete flatbuffer is refused.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from export.tflite.reader import require_identifier
from qtorch.errors import BadModelFile

__all__ = ["Metadata", "ModelSummary", "OpSummary", "Signature", "SubgraphSummary", "TensorSummary", "summarize"]

_REMEDY = "copy or download the file again, and pass a .tflite model"


@dataclass(frozen=True)
class TensorSummary:
    """One tensor as the file declares it.

    Attributes:
        index: in its subgraph.
        name: as written; empty if the file has none.
        dtype: the schema's name in lower case, or the type's number.
        shape: with -1 where ``shape_signature`` says that the size is known at run time alone; ``None`` without rank.
        constant_bytes: of its buffer in the file; 0 for a run-time tensor.
        scale: one, or one per channel; empty for what is not quantized.
        zero_point: as many.
        axis: the channel axis of several scales.
        variable: whether it keeps its value from one run to the next.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...] | None
    constant_bytes: int
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None
    variable: bool


@dataclass(frozen=True)
class OpSummary:
    """One operator: its name in the schema, ``CUSTOM:name``, or ``UNKNOWN:code``; tensor indices, -1 for none."""

    op: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class SubgraphSummary:
    """One graph of the file."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[TensorSummary, ...]
    ops: tuple[OpSummary, ...]


@dataclass(frozen=True)
class Metadata:
    """One entry of the file's metadata; ``content`` is what its JSON says, or its text, or ``None`` for other bytes."""

    name: str
    bytes: int
    content: Any


@dataclass(frozen=True)
class Signature:
    """A named way to call a subgraph: names of inputs and outputs."""

    key: str
    subgraph: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class ModelSummary:
    """The whole file.

    Attributes:
        bytes: of the file.
        schema_version: 3 in all files of today.
        description: whatever the writer said.
        constant_bytes: of all buffers, each counted once.
        name_bytes: of all tensor names.
        subgraphs: the first is the model's entry.
        metadata: in the file's order.
        signatures: in the file's order.
    """

    bytes: int
    schema_version: int
    description: str
    constant_bytes: int
    name_bytes: int
    subgraphs: tuple[SubgraphSummary, ...]
    metadata: tuple[Metadata, ...]
    signatures: tuple[Signature, ...]


class _Bytes(bytearray):
    """Bytes of which no slice is silently shorter than asked for."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and not 0 <= key.start <= key.stop <= len(self):
            raise ValueError(f"bytes {key.start} to {key.stop} of {len(self)}")
        return super().__getitem__(key)


def summarize(model: bytes, where: str = "model") -> ModelSummary:
    """What stands in a file.

    Args:
        model: the whole file.
        where: what to call it in an error.

    Raises:
        BadModelFile: truncated, damaged, or no .tflite file.
    """
    require_identifier(model, where, _REMEDY)
    try:
        return _Reader(model).summary()
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadModelFile(
            where=where, expected="a complete .tflite file", got=f"{len(model)} bytes: {error}", remedy=_REMEDY
        ) from error


class _Reader:
    """Reads one file; every vector is held against the file's size before anything counts up to its length."""

    def __init__(self, model: bytes) -> None:
        self.size = len(model)
        # Vectors may be shared, so a sound file may be visited more often than it has bytes; a damaged one is not
        # followed for hours.
        self.budget = 8 * len(model) + 10_000
        self.root = self._whole(schema.Model.GetRootAs(_Bytes(model)))

    def summary(self) -> ModelSummary:
        root = self.root
        buffers = [self._buffer_bytes(buffer) for buffer in self._tables(root, "Buffers")]
        codes = [self._operator(code) for code in self._tables(root, "OperatorCodes")]
        subgraphs = tuple(self._subgraph(graph, codes, buffers) for graph in self._tables(root, "Subgraphs"))
        if not subgraphs:
            raise ValueError("no subgraph")
        return ModelSummary(
            bytes=self.size,
            schema_version=int(root.Version()),
            description=_text(root.Description()),
            constant_bytes=sum(buffers),
            name_bytes=sum(len(tensor.name.encode()) for graph in subgraphs for tensor in graph.tensors),
            subgraphs=subgraphs,
            metadata=tuple(self._metadata(entry) for entry in self._tables(root, "Metadata")),
            signatures=tuple(self._signature(entry) for entry in self._tables(root, "SignatureDefs")),
        )

    def _visit(self, count: int) -> None:
        self.budget -= count
        if count > self.size or self.budget < 0:
            raise ValueError(f"a vector of {count} elements, or vectors that overlap")

    def _whole(self, table: Any) -> Any:
        """A table whose every byte is in the file."""
        tab = table._tab if hasattr(table, "_tab") else table
        begin = tab.Pos
        layout = begin - struct.unpack_from("<i", tab.Bytes, begin)[0]
        if layout < 0:
            raise ValueError(f"a table whose layout is at {layout}")
        entries, extent = struct.unpack_from("<HH", tab.Bytes, layout)
        if layout + entries > self.size or begin + extent > self.size:
            raise ValueError(f"a table that ends at {max(layout + entries, begin + extent)}")
        return table

    def _tables(self, table: Any, field: str) -> list[Any]:
        count = getattr(table, f"{field}Length")()
        self._visit(count)
        return [self._whole(getattr(table, field)(i)) for i in range(count)]

    def _numbers(self, table: Any, field: str) -> tuple[Any, ...]:
        count = getattr(table, f"{field}Length")()
        self._visit(count)
        return tuple(getattr(table, f"{field}AsNumpy")().tolist()) if count else ()

    def _buffer_bytes(self, buffer: Any) -> int:
        count = buffer.DataLength()
        if count:
            buffer.DataAsNumpy()  # raises if it ends behind the file
            return int(count)
        # Of files above 2 GB constants lie behind the flatbuffer.
        if buffer.Offset() > 1 and buffer.Offset() + buffer.Size() > self.size:
            raise ValueError(f"a constant that ends at {buffer.Offset() + buffer.Size()}")
        return int(buffer.Size()) if buffer.Offset() > 1 else 0

    def _operator(self, code: Any) -> tuple[str, int]:
        # Old files have the narrow field alone; new ones have 127 there where the wide one counts.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            return f"CUSTOM:{_text(code.CustomCode())}", int(code.Version())
        return _OPERATORS.get(number, f"UNKNOWN:{number}"), int(code.Version())

    def _subgraph(self, graph: Any, codes: list[tuple[str, int]], buffers: list[int]) -> SubgraphSummary:
        tensors = tuple(self._tensor(i, tensor, buffers) for i, tensor in enumerate(self._tables(graph, "Tensors")))
        ops = []
        for operator in self._tables(graph, "Operators"):
            if operator.BuiltinOptions() is not None:
                self._whole(operator.BuiltinOptions())
            if operator.CustomOptionsLength():
                operator.CustomOptionsAsNumpy()
            ends = [self._indices(operator, field, len(tensors)) for field in ("Inputs", "Outputs")]
            index = operator.OpcodeIndex()
            if index >= len(codes):
                raise ValueError(f"operator code {index} of {len(codes)}")
            ops.append(OpSummary(*codes[index], *ends))
        inputs, outputs = (self._indices(graph, field, len(tensors)) for field in ("Inputs", "Outputs"))
        return SubgraphSummary(_text(graph.Name()), inputs, outputs, tensors, tuple(ops))

    def _indices(self, table: Any, field: str, count: int) -> tuple[int, ...]:
        found = self._numbers(table, field)
        if any(not -1 <= index < count for index in found):
            raise ValueError(f"tensor indices {found} of {count} tensors")
        return found

    def _tensor(self, index: int, tensor: Any, buffers: list[int]) -> TensorSummary:
        shape, signature = self._numbers(tensor, "Shape"), self._numbers(tensor, "ShapeSignature")
        scale: tuple[float, ...] = ()
        zero_point: tuple[int, ...] = ()
        axis = None
        quantization = tensor.Quantization()
        if quantization is not None:
            self._whole(quantization)
            scale, zero_point = self._numbers(quantization, "Scale"), self._numbers(quantization, "ZeroPoint")
            axis = int(quantization.QuantizedDimension()) if len(scale) > 1 else None
        if tensor.Buffer() >= max(1, len(buffers)):
            raise ValueError(f"buffer {tensor.Buffer()} of {len(buffers)}")
        known = tensor.HasRank() or len(shape) > 0 or not tensor.ShapeIsNone()
        return TensorSummary(
            index=index,
            name=_text(tensor.Name()),
            dtype=_TYPES.get(tensor.Type(), str(tensor.Type())),
            shape=(signature or shape) if known else None,
            constant_bytes=buffers[tensor.Buffer()] if buffers else 0,
            scale=scale,
            zero_point=zero_point,
            axis=axis,
            variable=bool(tensor.IsVariable()),
        )

    def _metadata(self, entry: Any) -> Metadata:
        index = entry.Buffer()
        if index >= self.root.BuffersLength():
            raise ValueError(f"metadata in buffer {index} of {self.root.BuffersLength()}")
        buffer = self.root.Buffers(index)
        data = bytes(buffer.DataAsNumpy().tobytes()) if buffer.DataLength() else b""
        return Metadata(_text(entry.Name()), len(data), _content(data))

    def _signature(self, entry: Any) -> Signature:
        names = [tuple(_text(each.Name()) for each in self._tables(entry, side)) for side in ("Inputs", "Outputs")]
        return Signature(_text(entry.SignatureKey()), int(entry.SubgraphIndex()), *names)


def _names(kind: Any) -> dict[int, str]:
    return {number: name for name, number in vars(kind).items() if not name.startswith("_")}


_OPERATORS = _names(schema.BuiltinOperator)
_TYPES = {number: name.lower() for number, name in _names(schema.TensorType).items()}


def _text(string: bytes | None) -> str:
    return "" if string is None else string.decode("utf-8", "backslashreplace")


def _content(data: bytes) -> Any:
    """JSON, else printable text, else ``None``."""
    # Converters pad such strings with zeros.
    stripped = data.rstrip(b"\0")
    try:
        text = stripped.decode()
    except UnicodeDecodeError:
        return None
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text if text.isprintable() else None


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
