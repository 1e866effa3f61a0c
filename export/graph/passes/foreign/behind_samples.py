"""Ops along the first axis of a tensor, which counts samples here and nothing of the kind in files of other writers.

Such an op is done with an axis of size 1 in front of its tensors, between two RESHAPEs: what was the first axis is then
the second, and to the ops around it counts rows of one sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from export.graph.ir import Graph, Node, Value, require_shapes
from qtorch.row.row import Attrs
from qtorch.row.shape_rule import BadShape, Shape

__all__ = ["behind_samples"]


def behind_samples(graph: Graph) -> Graph:
    """The graph with every op that would mix samples done one axis further behind; those that can't are left."""
    values, nodes, known = dict(graph.values), list[Node](), set(graph.constants())
    for node in graph.nodes:
        nodes += [node] if _is_fine(graph, node, known) else _further_behind(values, node, known)
        known |= set(node.outputs) if known.issuperset(node.inputs) else set()
    return replace(graph, values=values, nodes=tuple(nodes))


def _is_fine(graph: Graph, node: Node, known: set[str]) -> bool:
    try:
        require_shapes(graph, node, known)
    except BadShape:
        return False
    return True


def _axis(attrs: Attrs, shape: Shape) -> Attrs:
    return {**attrs, "axis": attrs["axis"] + 1}


def _axes(attrs: Attrs, shape: Shape) -> Attrs:
    return {**attrs, "axes": tuple(axis + 1 for axis in attrs["axes"])}


def _permuted(attrs: Attrs, shape: Shape) -> Attrs:
    return {"perm": (0, *(axis + 1 for axis in attrs["perm"]))}


def _padded(attrs: Attrs, shape: Shape) -> Attrs:
    return {"paddings": ((0, 0), *attrs["paddings"])}


def _sliced(attrs: Attrs, shape: Shape) -> Attrs:
    size = (shape[0] if attrs["size"][0] == -1 else attrs["size"][0], *attrs["size"][1:])
    return {"begin": (0, *attrs["begin"]), "size": (-1, *size)}


def _strided(attrs: Attrs, shape: Shape) -> Attrs:
    if attrs["begin_mask"] or attrs["end_mask"]:
        raise BadShape("expected the ends as numbers")
    vectors = {"begin": (0, *attrs["begin"]), "end": (1, *attrs["end"]), "strides": (1, *attrs["strides"])}
    return {**vectors, "begin_mask": 1, "end_mask": 1, "shrink_axis_mask": attrs["shrink_axis_mask"] << 1}


def _alike(attrs: Attrs, shape: Shape) -> Attrs:
    return attrs


#: Attributes of the same op one axis further behind, from the first input's shape.
_FURTHER_BEHIND: Mapping[str, Callable[[Attrs, Shape], Attrs]] = {
    **dict.fromkeys(("arg_max", "arg_min", "concatenation", "split"), _axis),
    **dict.fromkeys(("mean", "reduce_max", "reduce_min", "reverse_v2", "sum"), _axes),
    **dict.fromkeys(("pad", "padv2"), _padded),
    **dict.fromkeys(("add", "batch_matmul", "div", "maximum", "minimum", "mul", "squared_difference", "sub"), _alike),
    **dict.fromkeys(("l2_normalization", "log_softmax", "softmax"), _alike),
    "slice": _sliced,
    "strided_slice": _strided,
    "transpose": _permuted,
}


def _further_behind(values: dict[str, Value], node: Node, known: set[str]) -> list[Node]:
    """The op between RESHAPEs; itself alone, if no such op is one either."""
    if node.op not in _FURTHER_BEHIND:
        return [node]
    moved = [name for role, name in node.input_roles().items() if role != "value"]
    rank = max(len(values[name].shape) for name in moved)
    made, before, called = dict(values), list[Node](), {}
    for name in dict.fromkeys(moved):
        shape = (1,) * (rank + 1 - len(values[name].shape)) + values[name].shape
        called[name] = _named(made, f"{name}.behind")
        made[called[name]] = _in_shape(values[name], shape)
        if values[name].data is None:
            before.append(Node("reshape", {"shape": shape}, (name,), (called[name],)))
    outputs, behind = [], list[Node]()
    try:
        attrs: dict[str, Any] = dict(_FURTHER_BEHIND[node.op](node.attrs, values[moved[0]].shape))
        for name, shape in zip(node.outputs, _outputs(made, node, attrs, called), strict=True):
            outputs.append(_named(made, f"{name}.behind"))
            made[outputs[-1]] = replace(values[name], shape=shape)
            behind.append(Node("reshape", {"shape": values[name].shape}, (outputs[-1],), (name,)))
        inputs = tuple(called.get(name, name) for name in node.inputs)
        there = Node(node.op, attrs, inputs, tuple(outputs))
        constants = {name for name, value in made.items() if value.data is not None}
        for each in (*before, there, *behind):
            require_shapes(Graph(made, (), (), ()), each, known | constants)
    except (BadShape, IndexError, TypeError):
        return [node]
    values.update(made)
    return [*before, there, *behind]


def _outputs(values: Mapping[str, Value], node: Node, attrs: Attrs, called: Mapping[str, str]) -> tuple[Shape, ...]:
    """What the op's rule gives one axis further behind: of all numbers of a sample one that has no other axis."""
    assert node.row.shapes is not None
    shapes = {role: values[called.get(name, name)].shape for role, name in node.input_roles().items()}
    return node.row.shapes(attrs, shapes)


def _named(values: Mapping[str, Value], name: str) -> str:
    number = 0
    while (found := f"{name}{number}") in values:
        number += 1
    return found


def _in_shape(value: Value, shape: Shape) -> Value:
    data = None if value.data is None else value.data.reshape(shape)
    return replace(value, shape=shape, data=data)
