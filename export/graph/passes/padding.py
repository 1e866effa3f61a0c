"""Explicit padding in TFLite's terms: SAME or VALID where that is the same, else a PAD before (or a SLICE behind)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.graph.ir import Graph, Node, Value, check
from export.graph.windows import window_and_stride
from qtorch.families.windows import padding_name

__all__ = ["padding"]


def padding(graph: Graph) -> Graph:
    """Needs ``[N, H, W, C]`` images; gives a graph whose windows are all ``"same"`` or ``"valid"``.

    A PAD that the network has of itself is absorbed by the convolution behind it where SAME says the same.
    """
    values, nodes = dict(graph.values), list[Node]()
    graph = _absorb_pads(graph)
    values = dict(graph.values)
    for node in graph.nodes:
        if isinstance(node.attrs.get("padding", ""), str):
            nodes.append(node)
        else:
            nodes += _legal(values, node)
    return check(replace(graph, values=values, nodes=tuple(nodes)))


def _legal(values: dict[str, Value], node: Node) -> list[Node]:
    window, stride = window_and_stride(values, node)
    if node.op == "transpose_conv":
        return _legal_transposed(values, node, window, stride)
    source = node.input_roles()["input"]
    shape = values[source].shape
    explicit = node.attrs["padding"]
    name = padding_name(explicit, (shape[1], shape[2]), window, stride)
    if node.op == "average_pool_2d" and any(n for ends in explicit for n in ends):
        # SAME leaves padding out of the count; explicit padding counts.
        name = None
    if name is not None:
        return [replace(node, attrs={**node.attrs, "padding": name})]
    rows, columns = explicit
    padded = f"{node.output}.padded"
    larger = (shape[0], shape[1] + sum(rows), shape[2] + sum(columns), shape[3])
    values[padded] = Value(larger, values[source].qparams)
    paddings = {"paddings": ((0, 0), tuple(rows), tuple(columns), (0, 0))}
    pad = Node("pad", paddings, (source,), (padded,))
    if node.op == "max_pool_2d":
        qparams = values[source].qparams
        least = np.array([np.finfo(np.float32).min], np.float32)
        lowest = least if qparams is None else np.array([qparams.code_range[0]], qparams.dtype)
        values[f"{padded}.value"] = Value((1,), qparams, lowest)
        pad = Node("padv2", paddings, (source, f"{padded}.value"), (padded,))
    inputs = tuple(padded if name == source else name for name in node.inputs)
    return [pad, replace(node, attrs={**node.attrs, "padding": "valid"}, inputs=inputs)]


def _legal_transposed(
    values: dict[str, Value], node: Node, window: tuple[int, int], stride: tuple[int, int]
) -> list[Node]:
    """A transposed convolution cuts its output where the convolution in the other direction would pad."""
    _, height, width, channels = node.attrs["output_shape"]
    (top, bottom), (left, right) = node.attrs["padding"]
    for name in ("valid", "same"):
        sizes = list(zip((height, width), window, stride, strict=True))
        cut = [max((-(-n // s) - 1) * s + w - n, 0) // 2 if name == "same" else 0 for n, w, s in sizes]
        # The kernel wants the input to be what the convolution in the other direction would give.
        image = [-(-n // s) if name == "same" else (n - w) // s + 1 for n, w, s in sizes]
        if cut == [top, left] and image == list(values[node.input_roles()["input"]].shape[1:3]):
            return [replace(node, attrs={**node.attrs, "padding": name})]
    whole = f"{node.output}.whole"
    shape = (1, height + top + bottom, width + left + right, channels)
    values[whole] = Value(shape, values[node.output].qparams)
    attrs = {**node.attrs, "padding": "valid", "output_shape": shape}
    begin, size = (0, top, left, 0), (-1, height, width, channels)
    cut_out = Node("slice", {"begin": begin, "size": size}, (whole,), node.outputs)
    return [replace(node, attrs=attrs, outputs=(whole,)), cut_out]


def _absorb_pads(graph: Graph) -> Graph:
    """A PAD whose only reader is a convolution becomes that convolution's padding, if SAME can say it."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    values, absorbed, changed = dict(graph.values), set[str](), dict[str, Node]()
    for pad in graph.nodes:
        users = readers.get(pad.output, [])
        if pad.op != "pad" or len(users) != 1 or pad.output in graph.sinks:
            continue
        node = users[0]
        if node.op not in ("conv_2d", "depthwise_conv_2d") or isinstance(node.attrs["padding"], str):
            continue
        batch, rows, columns, channels = pad.attrs["paddings"]
        if any((*batch, *channels)) or any(n for ends in node.attrs["padding"] for n in ends):
            continue
        window, stride = window_and_stride(values, node)
        shape = values[pad.inputs[0]].shape
        if padding_name((rows, columns), (shape[1], shape[2]), window, stride) != "same":
            continue
        inputs = tuple(pad.inputs[0] if name == pad.output else name for name in node.inputs)
        changed[node.output] = replace(node, attrs={**node.attrs, "padding": (rows, columns)}, inputs=inputs)
        absorbed.add(pad.output)
        del values[pad.output]
    nodes = tuple(changed.get(n.output, n) for n in graph.nodes if n.output not in absorbed)
    return replace(graph, values=values, nodes=nodes)
