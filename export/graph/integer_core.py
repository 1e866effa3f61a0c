"""What of a graph takes and gives integers: without the QUANTIZE and DEQUANTIZE at its ends."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node

__all__ = ["integer_core"]


def integer_core(graph: Graph) -> Graph:
    """What lies between a float interface's QUANTIZE and DEQUANTIZE, which is what is exported as C.

    Each end stands for itself: one that is integers, or that something else reads or writes, stays as it is.
    """
    before = {name: node for name in graph.inputs if (node := _only_reader(graph, name)) is not None}
    behind = {
        node.output: node
        for node in graph.nodes
        if node.op == "dequantize" and node.output in graph.outputs and not _readers(graph, node.output)
    }
    gone = {*map(id, before.values()), *map(id, behind.values())}
    ends = {*before, *behind}
    return replace(
        graph,
        values={name: value for name, value in graph.values.items() if name not in ends},
        nodes=tuple(node for node in graph.nodes if id(node) not in gone),
        inputs=tuple(before[name].output if name in before else name for name in graph.inputs),
        outputs=tuple(behind[name].inputs[0] if name in behind else name for name in graph.outputs),
        views={name: view for name, view in graph.views.items() if name not in ends},
    )


def _readers(graph: Graph, name: str) -> list[Node]:
    return [node for node in graph.nodes if name in node.inputs]


def _only_reader(graph: Graph, name: str) -> Node | None:
    """The QUANTIZE of a float input, if nothing else reads that."""
    readers = _readers(graph, name)
    if graph.values[name].qparams is not None or len(readers) != 1 or name in graph.outputs:
        return None
    return readers[0] if readers[0].op == "quantize" else None
