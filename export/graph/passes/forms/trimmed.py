"""Rows and columns of an image that no window reads, cut off by a SLICE."""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.rewriting import Draft, rewritten
from export.graph.windows import WINDOWED, read_extent, window_and_stride
from qtorch.families.windows import explicit_padding as amounts_of

__all__ = ["trimmed"]


def trimmed(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Convolutions and poolings VALID, or SAME that pads nothing, get images that end where their last windows end."""
    return rewritten(graph, outputs, _trimmed)


def _trimmed(draft: Draft, node: Node) -> bool:
    if node.op not in WINDOWED:
        return False
    source = node.input_roles()["input"]
    batch, height, width, channels = draft.shape(source)
    padding = amounts_of(node.attrs["padding"], (height, width), *window_and_stride(draft.values, node))
    # An axis that is padded has nothing left over: SAME pads as much as is read.
    reach = read_extent(draft.values, node)
    if any(n for ends in padding for n in ends) or reach == (height, width):
        return False
    size = (batch, *reach, channels)
    image = draft.cut(source, (0, 0, 0, 0), size, stem=f"{node.output}.read")
    inputs = tuple(image if name == source else name for name in node.inputs)
    draft.nodes.append(replace(node, attrs={**node.attrs, "padding": "valid"}, inputs=inputs))
    return True
