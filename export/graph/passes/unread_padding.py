"""Padding that no window reads is left out: a PAD's last rows and columns, where a stride steps over them.

It costs nothing, and the kernels of CMSIS-NN for 1xN convolutions (2023 to 2026) go wrong where columns are left over.
"""

from __future__ import annotations

from dataclasses import replace

from export.graph.ir import Graph, Node, Value, check
from export.graph.rewriting import readers_of
from export.graph.windows import WINDOWED, read_extent

__all__ = ["unread_padding"]


def unread_padding(graph: Graph) -> Graph:
    """Needs windows in TFLite's terms; gives a graph whose PADs before VALID windows end where the last window ends.

    A PAD of which nothing is left goes, unless it is an output.
    """
    readers, values = readers_of(graph), dict(graph.values)
    nodes, instead = list[Node](), dict[str, str]()
    for node in graph.nodes:
        node = replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        users = readers.get(node.output, [])
        padded = node.op in ("pad", "padv2") and users and node.output not in graph.sinks
        if not padded or not all(_reads_as_image(values, user, node.output) for user in users):
            nodes.append(node)
            continue
        shape, paddings = list(values[node.output].shape), list(node.attrs["paddings"])
        extents = [read_extent(values, user) for user in users]
        for axis in (1, 2):
            before, after = paddings[axis]
            unread = min(after, shape[axis] - max(extent[axis - 1] for extent in extents))
            paddings[axis], shape[axis] = (before, after - unread), shape[axis] - unread
        if any(n for ends in paddings for n in ends):
            values[node.output] = Value(tuple(shape), values[node.output].qparams)
            nodes.append(replace(node, attrs={**node.attrs, "paddings": tuple(paddings)}))
        else:
            instead[node.output] = node.inputs[0]
            del values[node.output]
    return check(replace(graph, values=_still_read(graph, values, nodes), nodes=tuple(nodes)))


def _reads_as_image(values: dict[str, Value], node: Node, name: str) -> bool:
    return node.op in WINDOWED and node.attrs["padding"] == "valid" and node.inputs.count(name) == 1


def _still_read(graph: Graph, values: dict[str, Value], nodes: list[Node]) -> dict[str, Value]:
    """Without the constants of PADs that went."""
    named = {*graph.sources, *graph.sinks, *(name for node in nodes for name in (*node.inputs, *node.outputs))}
    return {name: value for name, value in values.items() if name in named or name not in graph.constants()}
