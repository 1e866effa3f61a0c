"""A model's summary for people."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator

from export.text_table import printable, text_table
from export.tflite_summary import ModelSummary, SubgraphSummary, TensorSummary

__all__ = ["summary_text"]


def summary_text(summary: ModelSummary) -> str:
    """Sizes, metadata, and for every subgraph its ops and tensors."""
    return "\n".join(_lines(summary))


def _lines(summary: ModelSummary) -> Iterator[str]:
    tensors = sum(len(graph.tensors) for graph in summary.subgraphs)
    ops = sum(len(graph.ops) for graph in summary.subgraphs)
    yield (
        f"{summary.bytes:,} bytes: {summary.constant_bytes:,} of constants, {summary.name_bytes:,} of tensor names; "
        f"schema version {summary.schema_version}"
    )
    if summary.description:
        yield f"description: {printable(summary.description)}"
    yield f"{len(summary.subgraphs)} subgraph(s), {ops} ops, {tensors} tensors"
    used = Counter((op.op, op.version) for graph in summary.subgraphs for op in graph.ops)
    yield ""
    yield from text_table(
        ("op", "version", "count"), [(op, version, n) for (op, version), n in sorted(used.items())], "lrr"
    )
    for entry in summary.metadata:
        content = "" if entry.content is None else f": {json.dumps(entry.content, ensure_ascii=False)}"
        yield f"metadata {printable(entry.name)!r}, {entry.bytes:,} bytes{printable(content)}"
    for signature in summary.signatures:
        ends = (", ".join(map(printable, names)) for names in (signature.inputs, signature.outputs))
        yield f"signature {printable(signature.key)!r} of subgraph {signature.subgraph}: {' -> '.join(ends)}"
    for index, graph in enumerate(summary.subgraphs):
        yield ""
        yield from _graph_lines(index, graph)


def _graph_lines(index: int, graph: SubgraphSummary) -> Iterator[str]:
    yield f"subgraph {index} {printable(graph.name)}".rstrip()
    rows = [(i, op.op, op.version, _joined(op.inputs), _joined(op.outputs)) for i, op in enumerate(graph.ops)]
    yield from text_table(("#", "op", "version", "inputs", "outputs"), rows, "rlrll")
    yield ""
    yield from text_table(
        ("#", "tensor", "type", "shape", "scale", "zero point", "bytes", ""),
        [_row(tensor, graph) for tensor in graph.tensors],
        "rlllrrrl",
    )


def _row(tensor: TensorSummary, graph: SubgraphSummary) -> tuple[object, ...]:
    uses = [word for word, group in (("input", graph.inputs), ("output", graph.outputs)) if tensor.index in group]
    uses += ["variable"] if tensor.variable else []
    shape = "unknown" if tensor.shape is None else "x".join("?" if n < 0 else str(n) for n in tensor.shape) or "scalar"
    scale, zero = "", ""
    if tensor.scale:
        scale, zero = f"{tensor.scale[0]:.6g}", str(tensor.zero_point[0]) if tensor.zero_point else ""
    if not all(map(math.isfinite, tensor.scale)):
        uses.append("a scale that is no number")
    if len(tensor.scale) > 1:
        scale = f"{min(tensor.scale):.4g}..{max(tensor.scale):.4g}"
        uses.append(f"{len(tensor.scale)} scales along axis {tensor.axis}")
    size = f"{tensor.constant_bytes:,}" if tensor.constant_bytes else ""
    return (tensor.index, tensor.name, tensor.dtype, shape, scale, zero, size, ", ".join(uses))


def _joined(indices: tuple[int, ...]) -> str:
    return " ".join("-" if index < 0 else str(index) for index in indices)
