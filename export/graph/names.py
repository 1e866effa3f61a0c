"""Names of a graph's tensors that a person understands."""

from __future__ import annotations

from collections import Counter

from export.graph.ir import Graph

__all__ = ["speaking_names"]


def speaking_names(graph: Graph) -> dict[str, str]:
    """Names for people, all different: a layer's path, with the op behind it where that ends in a number.

    What the layout pass appended is left out. A name that would not be the only one of its kind stays as it is.
    """
    ops = {name: node.op for node in graph.nodes for name in node.outputs}
    paths = {}
    for name in graph.values:
        path = name.removesuffix(".channels_last")
        paths[name] = f"{path}.{ops[name]}" if path.split(".")[-1].isdigit() and name in ops else path
    counts = Counter([*paths.values(), *graph.values])
    return {name: each if counts[each] == (1 + (each == name)) else name for name, each in paths.items()}
