"""A convolution with room between the taps of its kernel, for the kernels of libraries that know none: others run then.

Of one row or one column of taps the dilation along it is never met and says nothing. Of others every row of the input
stands twice, and taps and windows step over the copies.
"""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node
from export.graph.passes.forms.explicit_padding import with_explicit_padding
from export.graph.rewriting import Draft, rewritten

__all__ = ["room_between_taps"]

_CONVOLUTIONS = ("conv_2d", "depthwise_conv_2d")


def room_between_taps(graph: Graph, outputs: frozenset[str]) -> Graph:
    """Convolutions without dilation get one of 2 along an axis, and compute the same."""
    return rewritten(graph, outputs, _room_between_taps)


def _room_between_taps(draft: Draft, node: Node) -> bool:
    attrs = node.attrs
    if node.op not in _CONVOLUTIONS or attrs["dilation_h"] != 1 or attrs["dilation_w"] != 1:
        return False
    _, rows, columns, _ = draft.shape(node.input_roles()["weight"])
    if rows == 1 or columns == 1:
        side = "dilation_h" if rows == 1 else "dilation_w"
        draft.nodes.append(replace(node, attrs={**attrs, side: 2}))
        return True
    node = with_explicit_padding(draft, node)
    source, stem = node.input_roles()["input"], node.output
    batch, height, width, channels = draft.shape(source)
    beside = draft.join([source, source], 2, stem=f"{stem}.beside_itself")
    twice = draft.reshape(beside, (batch, 2 * height, width, channels), stem=f"{stem}.rows_twice")
    inputs = tuple(twice if name == source else name for name in node.inputs)
    stepping = {**node.attrs, "dilation_h": 2, "stride_h": 2 * attrs["stride_h"]}
    draft.nodes.append(replace(node, attrs=stepping, inputs=inputs))
    return True
