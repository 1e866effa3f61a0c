"""Calls of tensors that have the batch elsewhere than in front: what their rules may ask, and the table of the rules.

A rule gives what stands for the call's result (one :class:`Held`, or one for each of several results), or None where
samples would come together, or nobody wrote how.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch.layout import Layout
from qtorch.capture.emitting import emit, tensor_of
from qtorch.capture.nodes import schema_arguments

__all__ = ["RULES", "Held", "MovedCall", "Result", "rule", "size_of", "sizes_of"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Held:
    """What stands for a tensor.

    Attributes:
        node: computes it, the batch in front.
        layout: of the tensor that it stands for.
    """

    node: fx.Node
    layout: Layout


Result = Held | list[Held] | None

#: By the operator's name without its overload.
RULES: dict[str, Callable[[MovedCall], Result]] = {}


def rule(*names: str) -> Callable[[Callable[[MovedCall], Result]], Callable[[MovedCall], Result]]:
    """A decorator: the function says what stands for results of the operators of these names."""

    def register(function: Callable[[MovedCall], Result]) -> Callable[[MovedCall], Result]:
        for name in names:
            RULES[name] = function
        return function

    return register


class MovedCall:
    """A call one of whose tensors, or whose result, has the batch elsewhere than in front.

    Args:
        node: it.
        held: what stands for tensors, by the nodes that compute them.
        batch: computes the batch's size.
        parts: of what stands for tensors: what it was put together of along axis 1, or what was taken of that.
    """

    def __init__(
        self,
        node: fx.Node,
        held: Mapping[fx.Node, Held],
        batch: Callable[[], fx.Node],
        parts: dict[fx.Node, list[fx.Node]],
    ) -> None:
        self.node, self.known, self.batch, self.parts = node, held, batch, parts

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Of an operator, by the names of its schema, with defaults."""
        return schema_arguments(self.node)

    @property
    def source(self) -> Held | None:
        """What stands for the first argument, where that has the batch and no other one has."""
        first = self.node.all_input_nodes[0]
        alone = not any(self.held(each) for each in self.node.all_input_nodes[1:])
        return self.held(first) if alone else None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Of the result, or the first of several."""
        return self.shapes[0]

    @property
    def shapes(self) -> list[tuple[Any, ...]]:
        """Of all results."""
        value = self.node.meta["val"]
        return [tuple(each.shape) for each in (value if isinstance(value, tuple | list) else [value])]

    def held(self, argument: Any) -> Held | None:
        """What stands for an argument; None of one without batch."""
        return self.known.get(argument) if isinstance(argument, fx.Node) else None

    def emit(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """A call in the place of this one."""
        return emit(self.node.graph, target, args, kwargs, like=self.node)

    def again(self, changes: Mapping[str, Any]) -> fx.Node:
        """The same call with other arguments, by their names."""
        args, kwargs = self._changed(changes)
        return self.emit(self.node.target, *args, **kwargs)

    def again_as(self, changes: Mapping[str, Any], value: Any) -> fx.Node:
        """The same call with other arguments, whose result without data is known."""
        node = self.node.graph.create_node("call_function", self.node.target, *self._changed(changes))
        node.meta = {**self.node.meta, "val": value}
        return node

    def _changed(self, changes: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        target: Any = self.node.target
        given = {**self.arguments, **changes}
        names = [each.name for each in target._schema.arguments if not each.kwarg_only]
        keywords = {each.name: given[each.name] for each in target._schema.arguments if each.kwarg_only}
        return tuple(given[name] for name in names), keywords

    def replaced(self, nodes: Mapping[fx.Node, fx.Node]) -> fx.Node:
        """The same call of other nodes."""
        args, kwargs = fx.map_arg((self.node.args, self.node.kwargs), lambda each: nodes.get(each, each))
        return self.emit(self.node.target, *args, **kwargs)

    def reshaped(self, node: fx.Node, sizes: Sequence[int]) -> fx.Node:
        """A node with the batch in front, in another shape behind it."""
        same = list(sizes_of(node)[1:]) == list(sizes)
        return node if same else self.emit(aten.reshape.default, node, [-1, *sizes])

    def as_held(self, node: fx.Node, layout: Layout) -> Held:
        """A node as what stands for a tensor; of that the batch's axis may be there without need."""
        return Held(self.reshaped(node, layout.held), layout)

    def whole(self, held: Held, more: int = 0) -> fx.Node:
        """What stands for a tensor with every axis of it, as many of size 1 in front, and the batch before all."""
        return self.reshaped(held.node, (*[1] * more, *held.layout.sizes))

    def broadcast(
        self, operands: Sequence[fx.Node], rank: int, kept: int = 0
    ) -> tuple[Layout, dict[fx.Node, fx.Node]] | None:
        """Operands as they broadcast with the batch in front, and a layout with the batch where it is in the result.

        Args:
            operands: some with batch; the last axes are the same in all.
            rank: of the result.
            kept: how many of the last axes do not broadcast, and may not have the batch.
        """
        layouts = [held.layout for each in operands if (held := self.held(each))]
        if len({each.batch for each in layouts}) != 1 or -layouts[0].batch[0] <= kept:
            return None
        like = layouts[0]
        from_end = -like.batch[0]
        nodes = {}
        for each in operands:
            held, sizes = self.held(each), sizes_of(each)
            if held is not None:
                missing = rank - held.layout.rank
                nodes[each] = self.reshaped(held.node, (*[1] * missing, *held.layout.held)) if missing else held.node
            elif len(sizes) > from_end and not like.merged:
                # The batch has an axis in front of all others now.
                axis = len(sizes) - from_end
                if sizes[axis] != 1:
                    return None
                nodes[each] = self.emit(aten.reshape.default, each, [*sizes[:axis], *sizes[axis + 1 :]])
        return like, nodes


def sizes_of(node: Any) -> tuple[Any, ...]:
    """A tensor's sizes; that of the batch is a ``SymInt``."""
    value = tensor_of(node)
    assert value is not None
    return tuple(value.shape)


def size_of(argument: Any) -> Any:
    """A size that a call is told, the number or ``SymInt`` of a node that computes one."""
    return argument.meta["val"] if isinstance(argument, fx.Node) else argument
