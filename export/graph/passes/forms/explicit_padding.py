"""Padding of windows as an op of its own: SAME as PAD and VALID, with no row or column that no window reads."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from export.graph.windows import WINDOWED, window_and_stride
from qtorch.families.windows import explicit_padding as amounts_of

__all__ = ["explicit_padding"]


def explicit_padding(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Convolutions and poolings SAME become PAD (of a maximum PADV2 of the least code) and VALID.

    An average that leaves padding out of its count has no such form and stays.
    """
    return rewritten(graph, outputs, _explicit_padding)


def _explicit_padding(draft: Draft, node: Node) -> bool:
    if node.op not in WINDOWED or node.attrs["padding"] != "same":
        return False
    source, stem = node.input_roles()["input"], node.output
    _, height, width, _ = draft.shape(source)
    rows, columns = amounts_of("same", (height, width), *window_and_stride(draft.values, node))
    if node.op == "average_pool_2d" and any((*rows, *columns)):
        return False
    paddings = [(0, 0), rows, columns, (0, 0)]
    padded = draft.pad(source, paddings, stem=f"{stem}.padded", lowest=node.op == "max_pool_2d")
    inputs = tuple(padded if name == source else name for name in node.inputs)
    draft.nodes.append(replace(node, attrs={**node.attrs, "padding": "valid"}, inputs=inputs))
    return True
