"""The kernel calls that a row's C cell says, of a whole node or of a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.graph.ir import Graph, Node
from qtorch.row.kernel_call import KernelCall, NoKernel, Operands
from qtorch.row.row import Unsupported

__all__ = ["kernel_calls", "shapes_of"]


def shapes_of(graph: Graph, node: Node) -> dict[str, tuple[int, ...]]:
    """Shapes of a node's tensors, outputs included, by role."""
    return {role: graph.values[name].shape for role, name in (node.input_roles() | node.output_roles()).items()}


def kernel_calls(
    graph: Graph, node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[KernelCall, ...]:
    """A node's calls on tensors of these shapes.

    Args:
        graph: of integers.
        node: whose cell is asked.
        attrs: the node's own, or those of a part of it.
        shapes: by role, outputs included; constants have their own.

    Raises:
        NoKernel: none computes it.
    """
    cell, roles = node.row.c, node.input_roles() | node.output_roles()
    if isinstance(cell, Unsupported):
        raise NoKernel(cell.reason)
    if graph.is_float(node):
        raise NoKernel("computes in float32")
    values = {role: graph.values[name] for role, name in roles.items()}
    constants = {role: value.data for role, value in values.items() if value.data is not None}
    kernels = cell(Operands(attrs, shapes, {role: value.qparams for role, value in values.items()}, constants))
    return kernels if isinstance(kernels, tuple) else (kernels,)
