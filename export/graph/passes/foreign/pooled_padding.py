"""Padding that no maximum sees: a PAD of the least code before a MAX_POOL_2D, whose SAME leaves it out."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node, check
from export.graph.rewriting import readers_of, without_unread
from export.graph.windows import window_and_stride
from qtorch.families.windows import padding_name

__all__ = ["pooled_padding"]


def pooled_padding(graph: Graph) -> Graph:
    """The graph without PADs and PADV2s of the least code there is that a VALID MAX_POOL_2D alone reads, where SAME
    puts its windows where they are.

    Of an AVERAGE_POOL_2D that would not be the same: SAME leaves padding out of the count.

    Args:
        graph: in TFLite's terms.
    """
    readers, pads, nodes = readers_of(graph), dict[str, Node](), list[Node]()
    for node in graph.nodes:
        pad = pads.get(node.inputs[0]) if node.op == "max_pool_2d" else None
        if pad is not None and node.attrs["padding"] == "valid" and _same(graph, pad, node):
            node = replace(node, attrs={**node.attrs, "padding": "same"}, inputs=(pad.inputs[0],))
        alone = len(readers.get(node.output, ())) == 1 and node.output not in graph.sinks
        if node.op in ("pad", "padv2") and alone and _of_the_least(graph, node):
            pads[node.output] = node
        nodes.append(node)
    return check(without_unread(replace(graph, nodes=tuple(nodes))))


def _of_the_least(graph: Graph, pad: Node) -> bool:
    grid = graph.values[pad.output].qparams
    if grid is None:
        return False
    if pad.op == "pad":
        return grid.zero_point[0] == grid.code_range[0]
    value = graph.values[pad.inputs[1]].data
    return value is not None and bool((value == grid.code_range[0]).all())


def _same(graph: Graph, pad: Node, pool: Node) -> bool:
    batch, rows, columns, channels = pad.attrs["paddings"]
    shape = graph.values[pad.inputs[0]].shape
    window, stride = window_and_stride(graph.values, pool)
    name = padding_name((tuple(rows), tuple(columns)), (shape[1], shape[2]), window, stride)
    return not any((*batch, *channels)) and name == "same"
