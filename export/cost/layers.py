"""What one layer takes: of a graph, or of any .tflite file by its schema alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from export.cost.macs import multiply_accumulates
from export.graph.ir import Graph, Node
from export.tflite.soundness import BITS
from export.tflite.summary import OpSummary, SubgraphSummary, TensorSummary
from qtorch.ops import of_rows
from qtorch.row.row import Row, TFLite

__all__ = ["CALLING", "LayerProfile", "file_layers", "graph_layer"]

#: Ops without a row that multiply matrices or call other subgraphs, for which there is no formula here; nor is there
#: for custom ones.
_UNCOUNTED = frozenset({
    "BATCH_MATMUL", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CALL", "CALL_ONCE", "CONV_3D",
    "CONV_3D_TRANSPOSE", "IF", "LSTM", "RNN", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE", "STABLEHLO_CONVOLUTION",
    "STABLEHLO_CUSTOM_CALL", "STABLEHLO_DOT_GENERAL", "STABLEHLO_WHILE", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "WHILE",
})  # fmt: skip


#: Those of them that call other subgraphs, whose constants are theirs.
CALLING = frozenset({"CALL", "CALL_ONCE", "IF", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE", "STABLEHLO_WHILE", "WHILE"})


@dataclass(frozen=True)
class LayerProfile:
    """One node.

    Attributes:
        index: in the order of execution.
        op: its row's name, or the schema's in lower case.
        name: of its first output.
        output: that tensor's shape; empty if the file does not say.
        macs: multiply-accumulates, those with padding included; ``None`` of an op that has some and no formula here.
        parameters: numbers in its constants.
        constant_bytes: that these take in the file; constants that layers share count for each.
        activation_bytes: of its run-time inputs and outputs together.
        counted: instructions or cycles by machine, within the whole program.
        cycles: the least that its instructions take on the machine's own processor, where that is known.
    """

    index: int
    op: str
    name: str
    output: tuple[int, ...]
    macs: int | None
    parameters: int
    constant_bytes: int
    activation_bytes: int
    counted: Mapping[str, float]
    cycles: Mapping[str, float] = field(default_factory=dict)


def graph_layer(
    graph: Graph, index: int, node: Node, counted: Mapping[str, float], cycles: Mapping[str, float] | None = None
) -> LayerProfile:
    """One node of a graph.

    Args:
        graph: of the node.
        index: of the node.
        node: in the graph.
        counted: what it takes, by machine.
        cycles: the least that its instructions take, likewise.
    """
    names = dict.fromkeys((*node.inputs, *node.outputs))
    constants = [value for name in names if (value := graph.values[name]).data is not None]
    running = [graph.values[name] for name in names if graph.values[name].data is None]
    return LayerProfile(
        index=index,
        op=node.op,
        name=node.output,
        output=graph.values[node.output].shape,
        macs=multiply_accumulates(graph, node),
        parameters=sum(value.elements for value in constants),
        constant_bytes=sum(value.bytes for value in constants),
        activation_bytes=sum(value.bytes for value in running),
        counted=counted,
        cycles=cycles or {},
    )


def file_layers(graph: SubgraphSummary) -> Iterator[LayerProfile]:
    """The ops of a file's subgraph, whoever wrote it; an axis that is known at run time alone counts as 1."""
    for index, op in enumerate(graph.ops):
        inputs = [graph.tensors[i] for i in dict.fromkeys(op.inputs) if i >= 0]
        outputs = [graph.tensors[i] for i in op.outputs if i >= 0]
        constants = [tensor for tensor in inputs if tensor.constant_bytes]
        running = [tensor for tensor in (*inputs, *outputs) if not tensor.constant_bytes]
        yield LayerProfile(
            index=index,
            op=op.op if ":" in op.op else op.op.lower(),
            name=outputs[0].name if outputs else "",
            output=_sizes(outputs[0]) if outputs else (),
            macs=_file_macs(op, graph),
            parameters=sum(math.prod(_sizes(tensor)) for tensor in constants),
            constant_bytes=sum(tensor.constant_bytes for tensor in constants),
            activation_bytes=sum(-(-math.prod(_sizes(t)) * BITS.get(t.dtype, 0) // 8) for t in running),
            counted={},
        )


def _sizes(tensor: TensorSummary) -> tuple[int, ...]:
    return tuple(1 if size < 0 else size for size in tensor.shape or ())


def _file_macs(op: OpSummary, graph: SubgraphSummary) -> int | None:
    row = _rows_by_operator().get(op.op)
    if row is None:
        return None if op.op in _UNCOUNTED or ":" in op.op else 0
    if row.macs is None:
        return 0
    try:
        return row.macs(_shapes(row, op, graph))
    except (KeyError, ValueError):  # of shapes that no such op has
        return None


@of_rows
def _rows_by_operator(rows: Mapping[str, Row]) -> dict[str, Row]:
    """By the schema's names."""
    cells = ((row, row.tflite) for row in rows.values() if isinstance(row.tflite, TFLite))
    return {cell.operator: row for row, cell in cells if not cell.counted_from_zero}


def _shapes(row: Row, op: OpSummary, graph: SubgraphSummary) -> dict[str, tuple[int, ...]]:
    """By role, of the tensors that are there."""
    assert isinstance(row.tflite, TFLite)
    operands = {operand.position for operand in row.tflite.operands}
    inputs = [index for position, index in enumerate(op.inputs) if position not in operands]
    roles = zip(row.tflite.order or row.input_roles(len(inputs)), inputs, strict=False)
    named = (*roles, *zip(row.output_roles(len(op.outputs)), op.outputs, strict=False))
    return {role: _sizes(graph.tensors[index]) for role, index in named if index >= 0}
