"""A graph that was read from a file, its tensors called as the file calls them."""

from __future__ import annotations

from export.graph.ir import Graph
from export.tflite.summary import summarize

__all__ = ["named"]


def named(graph: Graph, model: bytes) -> Graph:
    """A graph that was read from a file, its tensors called as the file does where each name is there once.

    What was put beside the file's tensors when it was read keeps the name that it got then.
    """
    names = {f"t{i}": tensor.name for i, tensor in enumerate(summarize(model).subgraphs[0].tensors)}
    called = {old: names.get(old, old) for old in graph.values}
    unclear = "" in called.values() or len(set(called.values())) < len(called)
    return graph if unclear else graph.renamed(called)
