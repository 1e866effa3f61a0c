"""Kernel calls for one row of a node's outputs, from the op's own C cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from export.c.by_rows.section import RowNode
from export.c.kernel_calls import kernel_calls, shapes_of
from export.graph.ir import Graph, Node
from qtorch.row.kernel_call import Argument, KernelCall, NoKernel, TensorArgument

__all__ = ["RowCalls", "row_calls"]


@dataclass(frozen=True)
class RowCalls:
    """What is called for one step of a node.

    Attributes:
        each: for every step; of a node that adds up, the sums over a row.
        at_last: of such a node, after the last one.
        outside: for a step whose window has no row inside the image, where that is another call.
        rest: for the last step, where it has fewer rows than the others.
        sums_bytes: of its sums.
        numbers: parameters of these that are known for each row only; see :class:`qtorch.row.image_rows.ImageRows`.
    """

    each: tuple[KernelCall, ...]
    at_last: tuple[KernelCall, ...] = ()
    outside: tuple[KernelCall, ...] = ()
    rest: tuple[KernelCall, ...] = ()
    sums_bytes: int = 0
    numbers: Mapping[str, str] = field(default_factory=dict)

    @property
    def every(self) -> tuple[KernelCall, ...]:
        """All of them."""
        return (*self.each, *self.at_last, *self.outside, *self.rest)

    @property
    def scratch(self) -> int:
        """Bytes that a step works in, sums over rows aside."""
        return max(call.scratch for call in (*self.each, *self.rest))


def row_calls(graph: Graph, node: RowNode, axis: int) -> RowCalls:
    """The calls of a node.

    Raises:
        NoKernel: there is none for a row.
    """
    of = graph.nodes[node.index]
    if node.adds_up:
        return _adding_calls(graph, of, axis)
    shapes = shapes_of(graph, of)
    assert of.row.rows is not None
    form = of.row.rows(of.attrs, shapes, axis)
    assert form is not None
    reads = {} if form.whole_image else node.reads
    outputs = of.output_roles() if reads else {}

    def of_rows(count: int) -> dict[str, tuple[int, ...]]:
        """Shapes of so many rows of the outputs; more than one come from as many."""
        windows = {role: window.window * count for role, (_, window) in reads.items() if window.stride}
        rows = windows | dict.fromkeys(outputs, count)
        return {role: _with_rows(shape, axis, rows[role]) if role in rows else shape for role, shape in shapes.items()}

    attrs, one_step = {**of.attrs, **form.attrs}, of_rows(node.block)
    calls = _called(graph, of, attrs, one_step)
    rest = _called(graph, of, attrs, of_rows(node.rest)) if node.rest else ()
    if unknown := sorted(set(form.numbers) - set(calls[0].arguments)):
        raise NoKernel(f"{calls[0].kernel} can't be told {' and '.join(unknown)} for each row")
    around = "paddings" in form.attrs and form.attrs["paddings"] != of.attrs["paddings"]
    return RowCalls(calls, outside=_filled(graph, of, one_step) if around else (), rest=rest, numbers=form.numbers)


def _called(
    graph: Graph, node: Node, attrs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[KernelCall, ...]:
    """Calls whose rows nobody joins with others."""
    return tuple(replace(call, in_place=frozenset()) for call in kernel_calls(graph, node, attrs, shapes))


def _filled(graph: Graph, node: Node, one_row: Mapping[str, tuple[int, ...]]) -> tuple[KernelCall, ...]:
    """A row around the image: what the op's own call fills the whole with, as far as a row goes."""
    own = _called(graph, node, node.attrs, shapes_of(graph, node))
    fill = next((call for call in own if call.kernel == "fill"), None)
    if fill is None:
        return ()
    return (replace(fill, arguments={**fill.arguments, "size": math.prod(one_row["output"])}),)


def _with_rows(shape: tuple[int, ...], axis: int, rows: int) -> tuple[int, ...]:
    return (*shape[:axis], rows, *shape[axis + 1 :])


def _adding_calls(graph: Graph, node: Node, axis: int) -> RowCalls:
    """Sums over row after row, and what the op's own call makes of the sum over all."""
    shapes = shapes_of(graph, node)
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
