"""What stands in a .tflite file, as frozen data: what :mod:`export.tflite.contents` reads, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema

__all__ = [
    "FileBuffer",
    "FileContents",
    "FileMetadata",
    "FileOperator",
    "FileSparsity",
    "FileSubgraph",
    "FileTensor",
    "Signature",
    "member_names",
]


def member_names(enumeration: str) -> dict[int, str]:
    """Names of an enumeration of the schema, by their numbers."""
    members = vars(getattr(schema, enumeration))
    return {number: name for name, number in members.items() if not name.startswith("_")}


_TYPES = {number: name.lower() for number, name in member_names("TensorType").items()}


@dataclass(frozen=True)
class FileBuffer:
    """Bytes of a constant or of metadata, and where in the file they begin; an empty one begins at 0.

    Attributes:
        outside: whether they lie behind the flatbuffer, where TFLite Micro does not look for them.
    """

    offset: int
    data: memoryview
    outside: bool = False


@dataclass(frozen=True)
class FileSparsity:
    """How the elements of a sparse constant are stored, as the schema says it.

    Attributes:
        traversal_order: of the axes, those of blocks behind those of the tensor.
        block_map: the tensor's axis of each axis of blocks.
        formats: of each axis in this order: 0 for dense, 1 for compressed rows.
        dense_sizes: of each axis; 0 of a compressed one.
        segments: of each axis, where its rows begin; empty of a dense one.
        indices: of each axis, which elements are there; empty of a dense one.
    """

    traversal_order: tuple[int, ...]
    block_map: tuple[int, ...]
    formats: tuple[int, ...]
    dense_sizes: tuple[int, ...]
    segments: tuple[tuple[int, ...], ...]
    indices: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class FileTensor:
    """One tensor.

    Attributes:
        index: in its subgraph.
        name: as written; empty if the file has none.
        kind: the number of its type in the schema.
        shape: as allocated; empty for a scalar, and where the file has none.
        signature: the shape with -1 where a size is known at run time alone; empty if there is none.
        ranked: whether the file says how many axes it has.
        buffer: index of its buffer; 0 is every run-time tensor's.
        constant_bytes: of that buffer.
        scale: one, or one per channel; empty for what is not quantized.
        zero_point: as many, in a sound file.
        axis: the channel axis of several scales.
        variable: whether it keeps its value from one run to the next.
        sparsity: of a constant of which only some elements are stored.
        outside: whether its constant lies behind the flatbuffer.
        shift: what the file's own codes have more than those here: 128 where it has uint8, read as int8.
    """

    index: int
    name: str
    kind: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    ranked: bool
    buffer: int
    constant_bytes: int
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None
    variable: bool
    sparsity: FileSparsity | None = None
    outside: bool = False
    shift: int = 0

    @property
    def grid(self) -> tuple[str, tuple[float, ...], tuple[int, ...]]:
        """Type, scales and zero points: what codes mean."""
        return self.dtype, self.scale, self.zero_point

    @property
    def dtype(self) -> str:
        """The schema's name in lower case, or the type's number."""
        return _TYPES.get(self.kind, str(self.kind))

    @property
    def words(self) -> str:
        """The tensor as an error names it."""
        return f"tensor {self.index} {self.name!r}" if self.name else f"tensor {self.index}"


@dataclass(frozen=True)
class FileOperator:
    """One operator.

    Attributes:
        name: in the schema, or ``CUSTOM:name``, or ``UNKNOWN:code``.
        version: of its kernel.
        inputs: tensor indices, -1 for one that is left out.
        outputs: tensor indices, -1 for none.
        options_kind: the number of its table of options in the schema; 0 without one.
        options: numbers, text and tuples of numbers by the schema's names; empty where the schema has no such table. A
            vector that the file leaves out is left out.
        number: in its subgraph, from 0; of an operator that stands for another of the file's, that one's.
        custom: the options of a custom operator, bytes whose meaning its kernel knows.
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_kind: int
    options: Mapping[str, Any]
    number: int = 0
    custom: bytes = b""


@dataclass(frozen=True)
class FileSubgraph:
    """One graph of the file; operators in the order of execution."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]

    def tensors_at(self, indices: Iterable[int]) -> Iterator[FileTensor]:
        """Those at some indices, without operands that are left out, which have -1 for one."""
        return (self.tensors[index] for index in indices if index != -1)


@dataclass(frozen=True)
class FileMetadata:
    """One entry of the file's metadata."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Signature:
    """A named way to call a subgraph: names of inputs and outputs."""

    key: str
    subgraph: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class FileContents:
    """The whole file: at least one subgraph, of which the first is the model's entry.

    Attributes:
        size: of the file, in bytes.
        version: of the schema; 3 in all files of today.
        description: whatever the writer said.
        buffers: which tensors and metadata share.
        subgraphs: each tensor's buffer and each operator's tensors are among those that there are.
        metadata: in the file's order.
        signatures: in the file's order.
    """

    size: int
    version: int
    description: str
    buffers: tuple[FileBuffer, ...]
    subgraphs: tuple[FileSubgraph, ...]
    metadata: tuple[FileMetadata, ...]
    signatures: tuple[Signature, ...]
