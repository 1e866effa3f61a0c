"""Graphs in which no op touches the first axis, so that samples can be computed one behind the other along it.

This project's own graphs have the batch there from input to output. In others' files an axis of the sample may lie in
front: a transposition moves it (``[T, 1, C]`` of a sequence), a vector has no batch at all, a constant is as long. Such
ops get an axis of size 1 in front, between RESHAPEs; ``T`` in front is then as many rows of a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from export.graph.ir import Graph, Node, Value
from export.graph.rewriting import Draft, merged_reshapes
from qtorch.row.row import Shape, any_order

__all__ = ["samples_first"]


def samples_first(graph: Graph) -> Graph:
    """The same integers, with a RESHAPE before and behind each op that does something along the first axis.

    Args:
        graph: in TFLite's terms, checked.

    Raises:
        ValueError: an op works along that axis in a way that has no such form; names it.
    """
    running = set(graph.running())
    lifted = {node.output for node in graph.nodes if running.intersection(node.inputs) and _touches_first(graph, node)}
    if not lifted:
        return graph
    draft = Draft(graph)
    for node in graph.nodes:
        if node.output in lifted:
            _lift(draft, node)
        else:
            draft.nodes.append(node)
    return merged_reshapes(replace(graph, values=draft.values, nodes=tuple(draft.nodes)))


def _touches_first(graph: Graph, node: Node) -> bool:
    if node.op == "reshape":
        return False
    shapes = [graph.values[name].shape for name in (*node.inputs, *node.outputs)]
    computed = [graph.values[name].shape for name in (*node.inputs, *node.outputs) if graph.values[name].data is None]
    if node.row.transposed is any_order:
        # Elements at the same place: rows that are as many on all sides, or a constant that all rows share.
        rank = max(map(len, shapes))
        rows = {shape[0] if len(shape) == rank and shape else 1 for shape in computed}
        constants = [shape for shape in shapes if shape not in computed and len(shape) == rank]
        return len(rows) > 1 or len({len(shape) for shape in computed}) > 1 or any(s[:1] > (1,) for s in constants)
    if any(len(shape) < 2 for shape in computed):
        return True
    return any(mixes(node, shapes[0]) for mixes in _MIXES)


def _first_among(node: Node, shape: Shape) -> bool:
    axes = node.attrs.get("axes", node.attrs.get("axis", ()))
    axes = axes if isinstance(axes, tuple) else (axes,)
    return any(isinstance(axis, int) and axis % len(shape) == 0 for axis in axes)


def _moves_first(node: Node, shape: Shape) -> bool:
    return "perm" in node.attrs and node.attrs["perm"][0] != 0


def _pads_first(node: Node, shape: Shape) -> bool:
    return "paddings" in node.attrs and any(node.attrs["paddings"][0])


def _cuts_first(node: Node, shape: Shape) -> bool:
    if node.op == "slice":
        return bool(node.attrs["begin"][0] != 0 or node.attrs["size"][0] not in (-1, shape[0]))
    if node.op != "strided_slice":
        return False
    attrs = node.attrs
    whole = attrs["begin_mask"] & attrs["end_mask"] & 1
    return bool(attrs["shrink_axis_mask"] & 1 or attrs["strides"][0] != 1 or not whole)


_MIXES = (_first_among, _moves_first, _pads_first, _cuts_first)


def _lift(draft: Draft, node: Node) -> None:
    """The op on tensors with one axis more, of size 1, in front."""
    if node.row.channels_last or "time_major" in node.attrs:
        raise ValueError(f"{node.op} of {draft.shape(node.inputs[0])}: expected the batch as its first axis")
    rank = max(len(draft.shape(name)) for name in (*node.inputs, *node.outputs))
    same_place = node.row.transposed is any_order

    def larger(shape: Shape) -> Shape:
        return (1, *([1] * (rank - len(shape)) if same_place else ()), *shape)

    inputs = [_enlarged(draft, name, larger(draft.shape(name))) for name in node.inputs]
    outputs = []
    for name in node.outputs:
        outputs.append(draft.named(f"{name}.lifted", larger(draft.shape(name)), draft.values[name].qparams))
    draft.nodes.append(Node(node.op, _lifted(node, draft.values), tuple(inputs), tuple(outputs)))
    for made, name in zip(outputs, node.outputs, strict=True):
        draft.reshape(made, draft.shape(name), output=name)


def _enlarged(draft: Draft, name: str, shape: Shape) -> str:
    value = draft.values[name]
    if value.data is None:
        return draft.reshape(name, shape, stem=f"{name}.lifted")
    if math.prod(value.shape) == 1 or value.quantization.axis is not None:
        return name
    return draft.constant(f"{name}.lifted", value.data.reshape(shape), value.qparams)


def _lifted(node: Node, values: Mapping[str, Value]) -> dict[str, Any]:
    """Attributes that name axes, each one further back."""
    attrs = dict(node.attrs)
    for name in ("axis", "axes", "perm"):
        if name in attrs:
            attrs[name] = _one_further(attrs[name])
    if "perm" in attrs:
        attrs["perm"] = (0, *attrs["perm"])
    if "paddings" in attrs:
        attrs["paddings"] = ((0, 0), *attrs["paddings"])
    if node.op == "slice":
        attrs |= {"begin": (0, *attrs["begin"]), "size": (-1, *attrs["size"])}
    if node.op == "strided_slice":
        attrs |= {"begin": (0, *attrs["begin"]), "end": (1, *attrs["end"]), "strides": (1, *attrs["strides"])}
        attrs |= {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": attrs["shrink_axis_mask"] << 1}
    return attrs


def _one_further(axes: Any) -> Any:
    if isinstance(axes, tuple):
        return tuple(_one_further(axis) for axis in axes)
    return axes + 1 if axes >= 0 else axes
