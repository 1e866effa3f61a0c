"""Runs of nodes whose outputs can be computed row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from export.c.kernel_calls import shapes_of
from export.graph.ir import Graph, Node
from qtorch.row.image_rows import RowWindow

__all__ = ["ADDS_UP", "RowNode", "Section", "row_node", "section_of"]


@dataclass(frozen=True)
class RowNode:
    """A node as something that makes row after row.

    Attributes:
        index: in the graph.
        steps: one for each row of its outputs; of a node that adds up all rows of an image, one for each of these.
        rows: of its outputs.
        reads: by role, the tensor and which of its rows a step needs; of what is computed at run time.
        block: rows of the image that count as one here; see :mod:`export.c.by_rows.blocks`.
        rest: how many of them the last one has where it has fewer.
    """

    index: int
    steps: int
    rows: int
    reads: Mapping[str, tuple[str, RowWindow]]
    block: int = 1
    rest: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether its one row is there only after all steps."""
        return self.steps > self.rows

    def made(self, steps: int) -> int:
        """Rows of the outputs after so many steps."""
        return steps if not self.adds_up else int(steps == self.steps)


@dataclass(frozen=True)
class Section:
    """Nodes that follow one another in a graph and are computed row by row together.

    Attributes:
        axis: of the rows, 1 or 2.
        nodes: in the graph's order.
        rows: of every tensor that they read or make, by name; 1 of what is read as a whole.
        row_bytes: of one of these, by name; the last may have fewer.
        makers: the position in ``nodes`` of what makes a tensor, by name.
        kept: tensors that are made here and needed afterwards.
        given_up: tensors that are made before and needed no more afterwards, whose rows are no more needed when they
            have been read.
    """

    axis: int
    nodes: tuple[RowNode, ...]
    rows: Mapping[str, int]
    row_bytes: Mapping[str, int]
    makers: Mapping[str, int]
    kept: frozenset[str]
    given_up: frozenset[str]

    @property
    def first(self) -> int:
        """Index of the first node."""
        return self.nodes[0].index

    @property
    def last(self) -> int:
        """Index of the last node."""
        return self.nodes[-1].index


def row_node(graph: Graph, index: int, axis: int) -> RowNode | None:
    """A node of a graph as one that makes row after row along an axis; ``None`` where it does not."""
    node = graph.nodes[index]
    if node.row.carried:
        return None
    shapes = shapes_of(graph, node)
    if node.row.rows is None or not all(_is_image(shapes[role], axis) for role in node.output_roles()):
        return _adding(graph, node, index, axis)
    form = node.row.rows(node.attrs, shapes, axis)
    if form is None:
        return None
    reads = {}
    for role, name in node.input_roles().items():
        value, window = graph.values[name], form.reads.get(role)
        if value.data is not None:
            # Other constants than weights are part of what the one row is made of.
            if window is not None and window.stride:
                return None
            continue
        if window is None or (window.stride and not _is_image(value.shape, axis)):
            return None
        reads[role] = (name, window)
    rows = next(iter(shapes[role] for role in node.output_roles()))[axis]
    if rows == 1 and any(w.window > 1 for _, w in reads.values()):
        return _adding(graph, node, index, axis)
    return RowNode(index, rows, rows, reads) if reads else None


#: Rows are counted in 16 bits.
_MOST_ROWS = 2**15

#: Kernels of means over all pixels that can be had from sums over row after row.
ADDS_UP = ("mean", "average_pool_2d", "sum")


def _adding(graph: Graph, node: Node, index: int, axis: int) -> RowNode | None:
    """A node whose one row is the mean over a whole image of int8."""
    source, output = (graph.values[name] for name in (node.inputs[0], node.output))
    if node.op not in ADDS_UP or not _is_image(source.shape, axis) or len(source.shape) != 4 or source.dtype != "int8":
        return None
    if output.elements != source.shape[3] or source.data is not None or output.dtype != "int8":
        return None
    pixels = source.shape[1] * source.shape[2]
    if node.op == "average_pool_2d":
        covered = {axis: (node.attrs[f"filter_{axis}"], source.shape[i]) for i, axis in ((1, "h"), (2, "w"))}
        if any(window != size for window, size in covered.values()):
            return None
    elif set(node.attrs["axes"]) != {1, 2}:
        return None
    rows = source.shape[axis]
    if rows == 1 or pixels > 2**15:
        return None
    return RowNode(index, rows, 1, {"input": (node.inputs[0], RowWindow())})


def _is_image(shape: Sequence[int], axis: int) -> bool:
    return len(shape) > axis + 1 and shape[0] == 1 and shape[axis] < _MOST_ROWS and (axis == 1 or shape[1] == 1)


def section_of(graph: Graph, nodes: Sequence[RowNode], axis: int) -> Section:
    """Nodes that follow one another, with what they have to do with the rest of the graph."""
    last = nodes[-1].index
    makers = {name: place for place, node in enumerate(nodes) for name in graph.nodes[node.index].outputs}
    later = {name for node in graph.nodes[last + 1 :] for name in node.inputs} | set(graph.sinks)
    rows = {name: nodes[place].rows for name, place in makers.items()}
    for node in nodes:
        for name, window in node.reads.values():
            if name not in makers:
                height = graph.values[name].shape[axis] if window.stride else 0
                rows[name] = -(-height // node.block) or rows.get(name, 1)
    states = {state.value for state in graph.states}
    given_up = {name for name in rows if name not in makers and name not in later and name not in states}
    read = {name for node in nodes for name, _ in node.reads.values()}
    kept = {name for name in makers if name in later or name not in read}
    values = {name: graph.values[name] for name in rows}
    row_bytes = {
        name: value.bytes if rows[name] == 1 else value.bytes // value.shape[axis] * nodes[0].block
        for name, value in values.items()
    }
    return Section(axis, tuple(nodes), rows, row_bytes, makers, frozenset(kept), frozenset(given_up))
