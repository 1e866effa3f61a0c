"""Several rows at a time, where a kernel shares among them what it makes of a matrix that each of them needs whole.

Rows that each hang on one row, or on a whole tensor, may be taken together: a block of them is then what a row is
elsewhere. That takes a few rows more of memory. Of a product of matrices a single row reads every column for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from export.c.by_rows.section import RowNode
from export.c.kernel_calls import shapes_of
from export.graph.ir import Graph
from qtorch.row.image_rows import RowWindow

__all__ = ["in_blocks", "rows_at_a_time"]


def rows_at_a_time(cpu: str) -> tuple[int, ...]:
    """How many rows a product of matrices is to make at a time on a processor, the best first.

    With so many, attention takes at most 1.13 times the instructions that it takes with all rows at once.
    """
    if cpu == "avr":
        # Its kernel shares nothing.
        return ()
    return (16, 8, 4) if cpu in _VECTORS else (8, 4)


#: Vectors make more of a row at once, so that what rows share counts for more.
_VECTORS = ("cortex-m55", "cortex-m85")


def in_blocks(graph: Graph, nodes: Sequence[RowNode], axis: int, block: int) -> tuple[RowNode, ...] | None:
    """Nodes of a section with so many rows of each tensor as one; ``None`` where they can't, or share nothing.

    Args:
        graph: of integers.
        nodes: of a section, one row at a time.
        axis: of the rows.
        block: how many, 2 or more.
    """
    if not any(_shares(graph, node, axis) for node in nodes):
        return None
    found = [_in_blocks(graph, node, axis, block) for node in nodes]
    return tuple(node for node in found if node is not None) if all(found) else None


def _shares(graph: Graph, node: RowNode, axis: int) -> bool:
    """Whether each row is a sum of products with all of a tensor."""
    of = graph.nodes[node.index]
    form = of.row.rows(of.attrs, shapes_of(graph, of), axis) if of.row.rows and of.row.macs else None
    return form is not None and any(not window.stride for window in form.reads.values())


def _in_blocks(graph: Graph, node: RowNode, axis: int, block: int) -> RowNode | None:
    of = graph.nodes[node.index]
    if node.adds_up or of.row.rows is None or node.rows <= block:
        return None
    form = of.row.rows(of.attrs, shapes_of(graph, of), axis)
    if form is None or form.attrs or form.numbers or form.whole_image:
        return None
    if any(window.stride and window != RowWindow() for _, window in node.reads.values()):
        return None
    blocks = -(-node.rows // block)
    return replace(node, steps=blocks, rows=blocks, block=block, rest=node.rows % block)
