"""Networks of given kernels of the table, whatever would be chosen."""

from __future__ import annotations

from export.c.network import CNetwork, network_of, portable_calls
from export.c.targets import candidates
from export.graph.ir import Graph

__all__ = ["by_table"]


def by_table(graph: Graph, cpu: str, *kernels: str) -> CNetwork:
    """Every call by one of those kernels of the table, or the last that takes it; the others as ``size`` has them."""
    calls = []
    for node in portable_calls(graph):
        found = [candidates(call, cpu) for call in node]
        wanted = [[each for each in of if not kernels or (each.row and each.row.kernel in kernels)] for of in found]
        calls.append(tuple((some or of)[-1 if some else 0].call for some, of in zip(wanted, found, strict=True)))
    return network_of(graph, calls, cpu)
