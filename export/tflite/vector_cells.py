"""Operators whose kernels take one sample as a vector, where a tensor here has an axis of samples in front of it."""

from __future__ import annotations

from collections.abc import Mapping

from export.graph.ir import Graph, Node
from qtorch.ops import of_rows
from qtorch.row.row import Row, TFLite

__all__ = ["of_vectors", "vector_cells"]


@of_rows
def vector_cells(rows: Mapping[str, Row]) -> dict[str, TFLite]:
    """The cells of rows whose operators take vectors, by operator."""
    cells = [row.tflite for row in rows.values() if isinstance(row.tflite, TFLite)]
    return {cell.operator: cell for cell in cells if cell.vectors}


def of_vectors(graph: Graph) -> frozenset[str]:
    """Values that a file can have without the axis in front: nobody else touches them."""
    ends = {*graph.inputs, *graph.outputs}
    touched = {True: set[str](), False: set[str]()}
    for node in graph.nodes:
        touched[_takes_vectors(node)] |= {*node.inputs, *node.outputs}
    return frozenset(name for name in touched[True] - touched[False] - ends if graph.values[name].data is None)


def _takes_vectors(node: Node) -> bool:
    return isinstance(node.row.tflite, TFLite) and node.row.tflite.vectors
