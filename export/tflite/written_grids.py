"""Grids as the writer puts them into a file: which tensors have none, and that of codes counted from 0 on."""

from __future__ import annotations

from export.graph.ir import Graph
from qtorch.numbers.qparams import INDICES, QParams

__all__ = ["counted_grid", "whole_numbers"]


def counted_grid(source: QParams) -> QParams:
    """The grid on which int32 codes, counted from 0 on, are the numbers of a tensor's codes."""
    return QParams(source.scale, (source.zero_point[0] - source.code_range[0],), "int32")


def whole_numbers(graph: Graph) -> frozenset[str]:
    """Values without a scale: indices, and constants that are computed with as such; a bias may have a scale of 1."""
    operands = {
        name
        for node in graph.nodes
        for role, name in node.input_roles().items()
        if not role.startswith("bias") and graph.values[name].qparams == INDICES
    }
    return frozenset(operands | {name for name, value in graph.values.items() if value.of_indices})
