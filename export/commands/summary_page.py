"""A model's summary for people."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator

from export.console.page import Block, Line, Table, printable
from export.tflite.summary import ModelSummary, SubgraphSummary, TensorSummary

__all__ = ["summary_page"]


def summary_page(summary: ModelSummary) -> Iterator[Block]:
    """Sizes, metadata, and for every subgraph its ops and tensors.

    Marked are operators that the schema does not know, and tensors with a scale that is no positive number.
    """
    tensors = sum(len(graph.tensors) for graph in summary.subgraphs)
    ops = sum(len(graph.ops) for graph in summary.subgraphs)
    yield Line(
        f"{summary.bytes:,} bytes: {summary.constant_bytes:,} of constants, {summary.name_bytes:,} of tensor names; "
        f"schema version {summary.schema_version}"
    )
    if summary.description:
        yield Line(f"description: {summary.description}")
    yield Line(f"{len(summary.subgraphs)} subgraph(s), {ops} ops, {tensors} tensors")
    yield Line(printable(summary.form.sentence), "plain" if summary.form.is_integers else "attention")
    for sentence in summary.unsound:
        yield Line(f"can't be computed: {printable(sentence)}", "attention")
    used = sorted(Counter((op.op, op.version) for graph in summary.subgraphs for op in graph.ops).items())
    yield Line()
    yield Table(
        ("op", "version", "count"),
        "lrr",
        tuple((op, version, n) for (op, version), n in used),
        "operators",
        _marked(_unknown(op) for (op, _), _ in used),
    )
    for entry in summary.metadata:
        content = "" if entry.content is None else f": {json.dumps(entry.content, ensure_ascii=False)}"
        yield Line(f"metadata {printable(entry.name)!r}, {entry.bytes:,} bytes{content}")
    if summary.planned_bytes:
        yield Line(
            "the file says where tensors lie in TFLite Micro's arena, within "
            f"{summary.planned_bytes:,} bytes; TFLite Micro places scratch buffers of kernels around them"
        )
    for signature in summary.signatures:
        ends = (", ".join(names) for names in (signature.inputs, signature.outputs))
        yield Line(f"signature {printable(signature.key)!r} of subgraph {signature.subgraph}: {' -> '.join(ends)}")
    if len({each.subgraph for each in summary.networks}) > 1:
        first, *others = (repr(printable(each.name)) for each in summary.networks)
        yield Line(
            f"{1 + len(others)} networks: TFLite Micro runs the first, {first}; compile, verify and profile take it, "
            f"or another with --signature NAME: {', '.join(others)}",
            "attention",
        )
    for index, graph in enumerate(summary.subgraphs):
        yield Line()
        yield from _graph_blocks(index, graph)


def _graph_blocks(index: int, graph: SubgraphSummary) -> Iterator[Block]:
    yield Line(f"subgraph {index} {graph.name}".rstrip(), "heading")
    yield Table(
        ("#", "op", "version", "inputs", "outputs"),
        "rlrll",
        tuple((i, op.op, op.version, _joined(op.inputs), _joined(op.outputs)) for i, op in enumerate(graph.ops)),
        "operators, in the order of execution",
        _marked(_unknown(op.op) for op in graph.ops),
    )
    yield Line()
    yield Table(
        ("#", "tensor", "type", "shape", "scale", "zero point", "bytes", ""),
        "rlllrrrl",
        tuple(_row(tensor, graph) for tensor in graph.tensors),
        "tensors",
        _marked(bool(_odd_scales(tensor)) for tensor in graph.tensors),
    )


def _unknown(op: str) -> bool:
    return op.startswith("UNKNOWN:")


def _marked(wrong: Iterable[bool]) -> frozenset[int]:
    return frozenset(index for index, each in enumerate(wrong) if each)


def _row(tensor: TensorSummary, graph: SubgraphSummary) -> tuple[object, ...]:
    uses = [word for word, group in (("input", graph.inputs), ("output", graph.outputs)) if tensor.index in group]
    uses += ["variable"] if tensor.variable else []
    uses += ["sparse"] if tensor.sparse else []
    uses += ["outside the flatbuffer"] if tensor.outside else []
    uses += [] if tensor.offset is None else [f"at {tensor.offset:,} in the arena"]
    shape = "unknown" if tensor.shape is None else "x".join("?" if n < 0 else str(n) for n in tensor.shape) or "scalar"
    scale, zero = "", ""
    if tensor.scale:
        scale, zero = f"{tensor.scale[0]:.6g}", str(tensor.zero_point[0]) if tensor.zero_point else ""
    if len(tensor.scale) > 1:
        scale = f"{min(tensor.scale):.4g}..{max(tensor.scale):.4g}"
        uses.append(f"{len(tensor.scale)} scales along axis {tensor.axis}")
    uses += [f"a scale of {scale:g}" for scale in _odd_scales(tensor)[:1]]
    size = f"{tensor.constant_bytes:,}" if tensor.constant_bytes else ""
    return (tensor.index, tensor.name, tensor.dtype, shape, scale, zero, size, ", ".join(uses))


def _odd_scales(tensor: TensorSummary) -> list[float]:
    """Those by which nothing can be quantized."""
    return [scale for scale in tensor.scale if not 0 < scale < math.inf]


def _joined(indices: tuple[int, ...]) -> str:
    return " ".join("-" if index < 0 else str(index) for index in indices)
