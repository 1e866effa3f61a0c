"""Padding of windows as an op of its own: SAME as PAD and VALID, with no row or column that no window reads."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from export.graph.windows import WINDOWED, window_and_stride
from qtorch.families.windows import explicit_padding as amounts_of

__all__ = ["explicit_padding", "with_explicit_padding"]


def explicit_padding(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Convolutions and poolings SAME become PAD (of a maximum PADV2 of the least code) and VALID.

    An average that leaves padding out of its count has no such form and stays.
    """
    return rewritten(graph, outputs, _explicit_padding)


def _explicit_padding(draft: Draft, node: Node) -> bool:
    if node.op not in WINDOWED or node.attrs["padding"] != "same":
        return False
    if node.op == "average_pool_2d" and any(n for side in _amounts(draft, node) for n in side):
        return False
    draft.nodes.append(with_explicit_padding(draft, node))
    return True


def with_explicit_padding(draft: Draft, node: Node) -> Node:
    """The node as VALID, behind a PAD in the draft if there is any padding; itself if it is so already.

    Args:
        draft: of the graph.
        node: with windows, no average.
    """
    if node.attrs["padding"] != "same":
        return node
    source = node.input_roles()["input"]
    paddings = [(0, 0), *_amounts(draft, node), (0, 0)]
    padded = draft.pad(source, paddings, stem=f"{node.output}.padded", lowest=node.op == "max_pool_2d")
    inputs = tuple(padded if name == source else name for name in node.inputs)
    return replace(node, attrs={**node.attrs, "padding": "valid"}, inputs=inputs)


def _amounts(draft: Draft, node: Node) -> tuple[tuple[int, int], tuple[int, int]]:
    _, height, width, _ = draft.shape(node.input_roles()["input"])
    return amounts_of("same", (height, width), *window_and_stride(draft.values, node))
