"""A .tflite file as plain data, whoever wrote it: the one reader of its bytes.

It takes what it finds: floats, dynamic shapes, several subgraphs, custom operators and those newer than the schema.
Only what is no complete flatbuffer is refused. Whether it can be computed is asked by :mod:`export.tflite.soundness`,
whoever wants less (:mod:`export.tflite.reader`) refuses more, and whoever wants words (:mod:`export.tflite.summary`)
makes them, of what is read here.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from export.file_kinds import kind_of
from export.tflite.file_data import (
    FileBuffer,
    FileContents,
    FileMetadata,
    FileOperator,
    FileSparsity,
    FileSubgraph,
    FileTensor,
    Signature,
    member_names,
)
from export.tflite.writer import IDENTIFIER
from qtorch.errors import BadModelFile

__all__ = ["read_contents"]

#: Tables that are read at most: some ten thousand operators with their tensors, in a second or two.
_TABLES = 60_000

_REMEDY = "copy or download the file again, and pass a .tflite model"


class _Bytes(bytearray):
    """Bytes of which no slice is silently shorter than asked for."""

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and not 0 <= key.start <= key.stop <= len(self):
            raise ValueError(f"bytes {key.start} to {key.stop} of {len(self)}")
        return super().__getitem__(key)


def read_contents(model: bytes, where: str = "model", remedy: str = _REMEDY) -> FileContents:
    """What stands in a file.

    Args:
        model: the whole file.
        where: what to call it in an error.
        remedy: what an error proposes.

    Raises:
        BadModelFile: truncated, damaged, or no .tflite file.
    """
    if len(model) < 8 or model[4:8] != IDENTIFIER:
        kind = kind_of(model)
        raise BadModelFile(
            where=where,
            expected=f"a .tflite file with identifier {IDENTIFIER!r}",
            got=f"{len(model)} bytes with {model[4:8]!r} in its place" if kind is None else kind.words,
            remedy=remedy if kind is None else kind.as_model,
        )
    try:
        return _Reader(model).contents()
    except struct.error as error:
        raise BadModelFile(
            where=where,
            expected="a complete .tflite file",
            got=f"one that ends at byte {len(model):,}, where it says that there is more",
            remedy=remedy,
        ) from error
    except (IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadModelFile(
            where=where, expected="a complete .tflite file", got=f"{len(model)} bytes: {error}", remedy=remedy
        ) from error


class _Reader:
    """Reads one file; every vector is held against the file's size before anything counts up to its length."""

    def __init__(self, model: bytes) -> None:
        self.model = memoryview(model)
        self.size = len(model)
        # Vectors may be shared, so a sound file may be visited more often than it has bytes; a damaged one is not
        # followed for hours. Tables, which take longest, are shared by no writer.
        self.budget = 8 * len(model) + 10_000
        self.tables = min(_TABLES, len(model) // 8 + 1_000)
        self.root = self._whole(schema.Model.GetRootAs(_Bytes(model)))

    def contents(self) -> FileContents:
        root = self.root
        buffers = tuple(self._buffer(buffer) for buffer in self._tables(root, "Buffers"))
        codes = [self._code(code) for code in self._tables(root, "OperatorCodes")]
        subgraphs = tuple(self._subgraph(graph, codes, buffers) for graph in self._tables(root, "Subgraphs"))
        if not subgraphs:
            raise ValueError("no subgraph")
        return FileContents(
            size=self.size,
            version=int(root.Version()),
            description=self._text(root.Description()),
            buffers=buffers,
            subgraphs=subgraphs,
            metadata=tuple(self._metadata(entry, buffers) for entry in self._tables(root, "Metadata")),
            signatures=tuple(self._signature(entry, subgraphs) for entry in self._tables(root, "SignatureDefs")),
        )

    def _visit(self, count: int) -> None:
        self.budget -= count
        if count > self.size or self.budget < 0:
            raise ValueError(f"a vector of {count} elements, or vectors that overlap")

    def _whole(self, table: Any) -> Any:
        """A table whose every byte is in the file."""
        self.tables -= 1
        if self.tables < 0:
            raise ValueError("more tables than fit in it, or vectors that overlap")
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

    def _buffer(self, buffer: Any) -> FileBuffer:
        count = int(buffer.DataLength())
        outside = not count and buffer.Offset() > 1
        if count:
            offset = int(buffer._tab.Vector(buffer._tab.Offset(4)))
        elif outside:
            # Of files above 2 GB constants lie behind the flatbuffer; litert-torch writes small ones so too.
            offset, count = int(buffer.Offset()), int(buffer.Size())
        else:
            return FileBuffer(0, self.model[:0])
        if offset + count > self.size:
            raise ValueError(f"a constant that ends at {offset + count}")
        return FileBuffer(offset, self.model[offset : offset + count], outside)

    def _code(self, code: Any) -> tuple[str, int]:
        # Old files have the narrow field alone; new ones have 127 there where the wide one counts.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if number == schema.BuiltinOperator.CUSTOM:
            return f"CUSTOM:{self._text(code.CustomCode())}", int(code.Version())
        return _OPERATORS.get(number, f"UNKNOWN:{number}"), int(code.Version())

    def _subgraph(self, graph: Any, codes: list[tuple[str, int]], buffers: tuple[FileBuffer, ...]) -> FileSubgraph:
        tensors = tuple(self._tensor(i, tensor, buffers) for i, tensor in enumerate(self._tables(graph, "Tensors")))
        operators: list[FileOperator] = []
        for operator in self._tables(graph, "Operators"):
            options = self._options(operator)
            count = int(operator.CustomOptionsLength())
            self._visit(count)
            # Raises if they end behind the file.
            custom = bytes(operator.CustomOptionsAsNumpy()) if count else b""
            inputs, outputs = (self._indices(operator, field, len(tensors)) for field in ("Inputs", "Outputs"))
            index = operator.OpcodeIndex()
            if index >= len(codes):
                raise ValueError(f"operator code {index} of {len(codes)}")
            name, version = codes[index]
            kind = int(operator.BuiltinOptionsType())
            operators.append(FileOperator(name, version, inputs, outputs, kind, options, len(operators), custom))
        inputs, outputs = (self._indices(graph, field, len(tensors)) for field in ("Inputs", "Outputs"))
        return FileSubgraph(self._text(graph.Name()), inputs, outputs, tensors, tuple(operators))

    def _options(self, operator: Any) -> dict[str, Any]:
        union = operator.BuiltinOptions()
        if union is None:
            return {}
        self._whole(union)
        kind = _OPTIONS.get(operator.BuiltinOptionsType())
        if kind is None:
            return {}
        table = getattr(schema, kind)()
        table.Init(union.Bytes, union.Pos)
        scalars, vectors = _option_fields(kind)
        options = {field: self._option(getattr(table, field)()) for field in scalars}
        present = (field for field in vectors if not getattr(table, f"{field}IsNone")())
        return options | {field: self._numbers(table, field) for field in present}

    def _indices(self, table: Any, field: str, count: int) -> tuple[int, ...]:
        indices = self._numbers(table, field)
        if any(not -1 <= index < count for index in indices):
            raise ValueError(f"tensor indices {indices} of {count} tensors")
        return indices

    def _tensor(self, index: int, tensor: Any, buffers: tuple[FileBuffer, ...]) -> FileTensor:
        shape, signature = self._numbers(tensor, "Shape"), self._numbers(tensor, "ShapeSignature")
        scale: tuple[float, ...] = ()
        zero_point: tuple[int, ...] = ()
        axis = None
        quantization = tensor.Quantization()
        if quantization is not None:
            self._whole(quantization)
            scale, zero_point = self._numbers(quantization, "Scale"), self._numbers(quantization, "ZeroPoint")
            # Of a bias an old converter wrote its weights' axis; it has one.
            axis = (0 if len(shape) == 1 else int(quantization.QuantizedDimension())) if len(scale) > 1 else None
        if tensor.Buffer() >= max(1, len(buffers)):
            raise ValueError(f"buffer {tensor.Buffer()} of {len(buffers)}")
        return FileTensor(
            index=index,
            name=self._text(tensor.Name()),
            kind=int(tensor.Type()),
            shape=shape,
            signature=signature,
            ranked=bool(tensor.HasRank()) or len(shape) > 0 or not tensor.ShapeIsNone(),
            buffer=int(tensor.Buffer()),
            constant_bytes=len(buffers[tensor.Buffer()].data) if buffers else 0,
            scale=scale,
            zero_point=zero_point,
            axis=axis,
            variable=bool(tensor.IsVariable()),
            sparsity=self._sparsity(tensor.Sparsity()),
            outside=bool(buffers) and buffers[tensor.Buffer()].outside,
        )

    def _metadata(self, entry: Any, buffers: tuple[FileBuffer, ...]) -> FileMetadata:
        index = entry.Buffer()
        if index >= len(buffers):
            raise ValueError(f"metadata in buffer {index} of {len(buffers)}")
        self._visit(len(buffers[index].data))
        return FileMetadata(self._text(entry.Name()), bytes(buffers[index].data))

    def _signature(self, entry: Any, subgraphs: tuple[FileSubgraph, ...]) -> Signature:
        index = int(entry.SubgraphIndex())
        if index >= len(subgraphs):
            raise ValueError(f"a signature of subgraph {index} of {len(subgraphs)}")
        count = len(subgraphs[index].tensors)
        names = []
        for side in ("Inputs", "Outputs"):
            entries = self._tables(entry, side)
            for each in entries:
                if each.TensorIndex() >= count:
                    raise ValueError(f"a signature with tensor {each.TensorIndex()} of {count}")
            names.append(tuple(self._text(each.Name()) for each in entries))
        return Signature(self._text(entry.SignatureKey()), index, *names)

    def _sparsity(self, sparsity: Any) -> FileSparsity | None:
        if sparsity is None:
            return None
        self._whole(sparsity)
        axes = self._tables(sparsity, "DimMetadata")
        return FileSparsity(
            traversal_order=self._numbers(sparsity, "TraversalOrder"),
            block_map=self._numbers(sparsity, "BlockMap"),
            formats=tuple(int(axis.Format()) for axis in axes),
            dense_sizes=tuple(int(axis.DenseSize()) for axis in axes),
            segments=tuple(self._sparse_indices(axis.ArraySegmentsType(), axis.ArraySegments()) for axis in axes),
            indices=tuple(self._sparse_indices(axis.ArrayIndicesType(), axis.ArrayIndices()) for axis in axes),
        )

    def _sparse_indices(self, kind: int, union: Any) -> tuple[int, ...]:
        name = _SPARSE_INDICES.get(kind)
        if union is None or name is None:
            return ()
        self._whole(union)
        table = getattr(schema, name)()
        table.Init(union.Bytes, union.Pos)
        return self._numbers(table, "Values")

    def _text(self, string: bytes | None) -> str:
        if string is None:
            return ""
        self._visit(len(string))
        return string.decode("utf-8", "backslashreplace")

    def _option(self, value: Any) -> Any:
        """A number as it is, a string as text."""
        return value if isinstance(value, int | float) else self._text(value)


_OPERATORS = member_names("BuiltinOperator")
_OPTIONS = {number: name for number, name in member_names("BuiltinOptions").items() if number}
_SPARSE_INDICES = {number: name for number, name in member_names("SparseIndexVector").items() if number}


@cache
def _option_fields(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Single numbers and vectors of numbers of a table of options."""
    methods = [name for name in vars(getattr(schema, kind)) if name[0].isupper()]
    vectors = tuple(name.removesuffix("AsNumpy") for name in methods if name.endswith("AsNumpy"))
    generated = {f"{name}{end}" for name in vectors for end in ("", "AsNumpy", "Length", "IsNone")}
    generated |= {"Init", "GetRootAs", f"GetRootAs{kind}", f"{kind}BufferHasIdentifier"}
    return tuple(name for name in methods if name not in generated), vectors
