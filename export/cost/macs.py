"""Multiply-accumulates: how many products the ops of a graph sum up, as their rows say."""

from __future__ import annotations

from export.graph.ir import Graph, Node

__all__ = ["all_multiply_accumulates", "multiply_accumulates"]


def multiply_accumulates(graph: Graph, node: Node) -> int:
    """Products that an op sums up, those with padding included; 0 of one that sums up none."""
    if node.row.macs is None:
        return 0
    roles = node.input_roles() | node.output_roles()
    return node.row.macs({role: graph.values[name].shape for role, name in roles.items()})


def all_multiply_accumulates(graph: Graph) -> int:
    """Those of all nodes."""
    return sum(multiply_accumulates(graph, node) for node in graph.nodes)
