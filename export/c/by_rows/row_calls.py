"""Kernel calls for one row of a node's outputs, from the op's own C cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from export.c.by_rows.section import RowNode
from export.graph.ir import Graph, Node
from qtorch.families.windows import explicit_padding
from qtorch.row.kernel_call import Argument, KernelCall, NoKernel, Operands, TensorArgument
from qtorch.row.row import Unsupported

__all__ = ["RowCalls", "row_calls"]

#: The parameters of kernels that windows slide over, by the axis of the rows: rows that are there, and how many of the
#: window's first are missing. They are known at run time only.
_SIZES = {1: ("in_h", "padding_top"), 2: ("in_w", "padding_left")}


@dataclass(frozen=True)
class RowCalls:
    """What is called for one step of a node.

    Attributes:
        each: for every step; of a node that adds up, the sums over a row.
        at_last: of such a node, after the last one.
        outside: for a step whose window has no row inside the image, where that is another call.
        sums_bytes: of its sums.
        rows_inside: the parameter that says how many rows the window has inside the image; ``""`` without padding.
        missing: the parameter that says how many are missing above.
    """

    each: tuple[KernelCall, ...]
    at_last: tuple[KernelCall, ...] = ()
    outside: tuple[KernelCall, ...] = ()
    sums_bytes: int = 0
    rows_inside: str = ""
    missing: str = ""


def row_calls(graph: Graph, node: RowNode, axis: int) -> RowCalls:
    """The calls of a node.

    Raises:
        NoKernel: there is none for a row.
    """
    of = graph.nodes[node.index]
    if node.adds_up:
        return _adding_calls(graph, of, axis)
    roles = of.input_roles() | of.output_roles()
    shapes = {role: graph.values[name].shape for role, name in roles.items()}
    attrs, padded = _of_one_row(of.attrs, shapes, node, axis)
    for role, (_, window) in node.reads.items():
        shapes[role] = _with_rows(shapes[role], axis, window.window) if window.stride else shapes[role]
    for role in of.output_roles():
        shapes[role] = _with_rows(shapes[role], axis, 1)
    calls = _called(graph, of, attrs, shapes)
    if "paddings" in attrs:
        around = attrs["paddings"] != of.attrs["paddings"]
        return RowCalls(calls, outside=_filled(graph, of, shapes) if around else ())
    inside, missing = _SIZES[axis]
    if not padded:
        return RowCalls(calls)
    if inside not in calls[0].arguments or missing not in calls[0].arguments:
        raise NoKernel(f"{calls[0].kernel} can't be told where rows are missing")
    return RowCalls(calls, rows_inside=inside, missing=missing)


def _called(
    graph: Graph, node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[KernelCall, ...]:
    cell, roles = node.row.c, node.input_roles() | node.output_roles()
    if isinstance(cell, Unsupported):
        raise NoKernel(cell.reason)
    values = {role: graph.values[name] for role, name in roles.items()}
    constants = {role: value.data for role, value in values.items() if value.data is not None}
    kernels = cell(Operands(attrs, shapes, {role: value.qparams for role, value in values.items()}, constants))
    calls = kernels if isinstance(kernels, tuple) else (kernels,)
    return tuple(replace(call, in_place=frozenset()) for call in calls)


def _of_one_row(
    attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], node: RowNode, axis: int
) -> tuple[Mapping[str, Any], bool]:
    """Attributes with the rows' padding gone and that of the other axis as it is, and whether rows may be missing."""
    if "paddings" in attrs:
        paddings = tuple((0, 0) if i == axis else ends for i, ends in enumerate(attrs["paddings"]))
        return {**attrs, "paddings": paddings}, False
    if "padding" not in attrs:
        return attrs, False
    _, window = node.reads["input"]
    image, output = shapes["input"], shapes["output"]
    sizes = _window_sizes(attrs, shapes)
    padding = list(
        explicit_padding(attrs["padding"], (image[1], image[2]), sizes, (attrs["stride_h"], attrs["stride_w"]))
    )
    beyond = window.first(output[axis] - 1) + window.window > image[axis]
    padding[axis - 1] = (0, 0)
    return {**attrs, "padding": tuple(padding)}, window.padding > 0 or beyond


def _window_sizes(attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    if "filter_h" in attrs:
        return attrs["filter_h"], attrs["filter_w"]
    height, width = shapes["weight"][1:3]
    return (height - 1) * attrs["dilation_h"] + 1, (width - 1) * attrs["dilation_w"] + 1


def _filled(graph: Graph, node: Node, one_row: Mapping[str, tuple[int, ...]]) -> tuple[KernelCall, ...]:
    """A row around the image: what the op's own call fills the whole with, as far as a row goes."""
    roles = node.input_roles() | node.output_roles()
    own = _called(graph, node, node.attrs, {role: graph.values[name].shape for role, name in roles.items()})
    fill = next((call for call in own if call.kernel == "fill"), None)
    if fill is None:
        return ()
    return (replace(fill, arguments={**fill.arguments, "size": math.prod(one_row["output"])}),)


def _with_rows(shape: tuple[int, ...], axis: int, rows: int) -> tuple[int, ...]:
    return (*shape[:axis], rows, *shape[axis + 1 :])


def _adding_calls(graph: Graph, node: Node, axis: int) -> RowCalls:
    """Sums over row after row, and what the op's own call makes of the sum over all."""
    shapes = {role: graph.values[name].shape for role, name in (node.input_roles() | node.output_roles()).items()}
    calls = _called(graph, node, node.attrs, shapes)
    own, image = calls[0].arguments, shapes["input"]
    count, depth = image[1] * image[2], image[3]
    sums: dict[str, Argument] = {"size": count // image[axis], "depth": depth}
    each = KernelCall("row_sums", {"in": TensorArgument("input"), **sums}, scratch=4 * depth)
    if calls[0].kernel == "average_pool_2d_s8":
        numbers: dict[str, Argument] = {"count": count}
        last = KernelCall("average_of_sums", {"out": own["out"], "depth": depth, **numbers}, scratch=4 * depth)
    elif calls[0].kernel == "mean":
        names = ("zero_point", "mantissa", "shift", "low", "high")
        zero_point = own["in_zero_point"]
        assert isinstance(zero_point, int)
        numbers = {"zeros": count * zero_point, **{name: own[name] for name in names}}
        last = KernelCall("mean_of_sums", {"out": own["out"], "depth": depth, **numbers}, scratch=4 * depth)
    else:
        raise NoKernel(f"{calls[0].kernel} adds up whole images")
    return RowCalls((each,), (last, *calls[1:]), sums_bytes=4 * depth)
