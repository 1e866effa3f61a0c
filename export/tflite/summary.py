"""What stands in a .tflite file, whoever wrote it, as people are shown it: ops, tensors, quantization, sizes, metadata.

Unlike :mod:`export.tflite.reader` this takes what :mod:`export.tflite.contents` finds: floats, dynamic shapes, several
subgraphs, custom ops and operators newer than the schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from export.tflite.contents import read_contents
from export.tflite.entries import Entry, entries
from export.tflite.file_data import FileSubgraph, FileTensor, Signature
from export.tflite.file_form import file_form
from export.tflite.form import FileForm
from export.tflite.lifetimes import tensor_bytes
from export.tflite.offline_plan import ONLINE, stored_offsets
from export.tflite.soundness import unsound

__all__ = ["Metadata", "ModelSummary", "OpSummary", "Signature", "SubgraphSummary", "TensorSummary", "summarize"]


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
        sparse: whether only some elements of its constant are stored.
        outside: whether its constant lies behind the flatbuffer, where TFLite Micro does not look for it.
        offset: where the file's plan has it in TFLite Micro's arena; ``None`` where TFLite Micro places it.
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
    sparse: bool = False
    outside: bool = False
    offset: int | None = None


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
class ModelSummary:
    """The whole file.

    Attributes:
        bytes: of the file.
        schema_version: 3 in all files of today.
        description: whatever the writer said.
        form: what kind of network it holds.
        constant_bytes: of all buffers, each counted once.
        name_bytes: of all tensor names.
        subgraphs: the first is the model's entry.
        metadata: in the file's order.
        signatures: in the file's order.
        unsound: why the file can't be computed, in sentences, the first of many; empty if it can.
        planned_bytes: of TFLite Micro's arena, which tensors take that the file itself places; 0 where it places none.
        networks: what can be run by itself, the one that TFLite Micro runs first.
    """

    bytes: int
    schema_version: int
    description: str
    form: FileForm
    constant_bytes: int
    name_bytes: int
    subgraphs: tuple[SubgraphSummary, ...]
    metadata: tuple[Metadata, ...]
    signatures: tuple[Signature, ...]
    unsound: tuple[str, ...] = ()
    planned_bytes: int = 0
    networks: tuple[Entry, ...] = ()


def summarize(model: bytes, where: str = "model") -> ModelSummary:
    """What stands in a file.

    Args:
        model: the whole file.
        where: what to call it in an error.

    Raises:
        BadModelFile: truncated, damaged, or no .tflite file.
    """
    contents = read_contents(model, where)
    offsets = stored_offsets(contents) or (ONLINE,) * sum(len(graph.tensors) for graph in contents.subgraphs)
    before = [sum(len(graph.tensors) for graph in contents.subgraphs[:i]) for i in range(len(contents.subgraphs))]
    subgraphs = tuple(
        _subgraph(graph, offsets[at : at + len(graph.tensors)])
        for at, graph in zip(before, contents.subgraphs, strict=True)
    )
    return ModelSummary(
        bytes=contents.size,
        schema_version=contents.version,
        description=contents.description,
        form=file_form(contents),
        constant_bytes=sum(len(buffer.data) for buffer in contents.buffers),
        name_bytes=sum(len(tensor.name.encode()) for graph in subgraphs for tensor in graph.tensors),
        subgraphs=subgraphs,
        metadata=tuple(Metadata(each.name, len(each.data), _content(each.data)) for each in contents.metadata),
        signatures=contents.signatures,
        networks=entries(contents),
        unsound=tuple(
            f"{each.where}: expected {each.expected}, got {each.got}" for each in islice(unsound(contents), 3)
        ),
        planned_bytes=max(
            (
                each.offset + tensor_bytes(tensor)
                for of, graph in zip(subgraphs, contents.subgraphs, strict=True)
                for each, tensor in zip(of.tensors, graph.tensors, strict=True)
                if each.offset is not None and not each.constant_bytes
            ),
            default=0,
        ),
    )


def _subgraph(graph: FileSubgraph, offsets: Sequence[int]) -> SubgraphSummary:
    ops = tuple(OpSummary(each.name, each.version, each.inputs, each.outputs) for each in graph.operators)
    return SubgraphSummary(graph.name, graph.inputs, graph.outputs, tuple(map(_tensor, graph.tensors, offsets)), ops)


def _tensor(tensor: FileTensor, offset: int) -> TensorSummary:
    return TensorSummary(
        index=tensor.index,
        name=tensor.name,
        dtype=tensor.dtype,
        shape=(tensor.signature or tensor.shape) if tensor.ranked else None,
        constant_bytes=tensor.constant_bytes,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        axis=tensor.axis,
        variable=tensor.variable,
        sparse=tensor.sparsity is not None,
        outside=tensor.outside,
        offset=None if offset == ONLINE else offset,
    )


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
