"""Layers and directions of a recurrent layer put together, and what the network reads of their results.

Sequences are ``[N, T, C]`` here, whatever a layer takes, or ``[N, R, T, C]``, where a sample has ``R`` of them. Of the
last states ``[layers, N, H]``, or ``[layers, N, R, H]``, whose first axis is no batch, and of results with time first,
single ones are handed to who picks them, so that nothing has to be moved.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from qtorch.capture.compositions.table import (
    concatenated,
    is_constant,
    is_one,
    permuted,
    same_shape,
    shape_of,
    writer_of,
)
from qtorch.capture.nodes import is_zeros, operator_name

__all__ = ["Made", "RecurrentLayer", "Sequential", "first_states", "layers", "reads"]

aten = torch.ops.aten

_SWAPPED = [1, 0, 2]


@dataclass
class Sequential:
    """Tensors ``[N, C]``, or ``[N, R, C]``, of consecutive steps, as one tensor with an axis of steps or one by one."""

    tensor: Any = None
    parts: list[Any] = field(default_factory=list)

    def __len__(self) -> int:
        return int(shape_of(self.tensor)[-2]) if self.tensor is not None else len(self.parts)

    @property
    def axis(self) -> int:
        """Of the steps in the tensor; of the numbers in each step."""
        return len(shape_of(self.tensor)) - 2 if self.tensor is not None else len(shape_of(self.parts[0])) - 1

    def at(self, step: int) -> Any:
        """One step."""
        return self.parts[step] if self.parts else aten.select.int(self.tensor, self.axis, step)

    def whole(self) -> Any:
        """All as one tensor."""
        if self.tensor is None:
            self.tensor = concatenated([aten.unsqueeze.default(each, self.axis) for each in self.parts], self.axis)
        return self.tensor

    def through(self, weight: Any, bias: Any) -> Sequential:
        """Behind a linear layer: one for all steps, where they are together."""
        if self.parts:
            return Sequential(parts=[aten.linear.default(each, weight, bias) for each in self.parts])
        return Sequential(aten.linear.default(self.tensor, weight, bias))


@dataclass
class Made:
    """A layer's hidden states, and its states after the last step that it makes; None for one that it has not."""

    states: Sequential
    last: tuple[Any, ...]


#: (input, parameters, first states with None for zeros, whether it begins with the last step); None of what it can't.
RecurrentLayer = Callable[[Sequential, tuple[Any, ...], tuple[Any, ...], bool], Made | None]


def first_states(hx: Any, count: int) -> list[Any] | None:
    """First states ``[N, H]`` of so many layers and directions, None for zeros; None of what can't be taken apart."""
    if is_zeros(hx.node):
        return [None] * count
    name, axes = operator_name(hx.node), hx.node.args[1:]
    if name == "stack" and axes in ((), (0,)):
        parts = [fx.Proxy(each, hx.tracer) for each in hx.node.args[0]]
        return [None if is_zeros(each.node) else each for each in parts]
    if name in ("cat", "concat") and axes in ((), (0,), (-3,)):
        parts = [fx.Proxy(each, hx.tracer) for each in hx.node.args[0]]
        found = [first_states(each, shape_of(each)[0]) for each in parts]
        return None if any(each is None for each in found) else [one for each in found for one in each or ()]
    if name not in ("unsqueeze", "expand", "repeat") and not _swaps(hx.node):
        return None
    source = fx.Proxy(hx.node.args[0], hx.tracer)
    if name in ("expand", "repeat") and is_one(shape_of(source)[0]) and operator_name(source.node) == "unsqueeze":
        # The same in every layer; of one sample or of all.
        alike = same_shape(shape_of(source)[1:], shape_of(hx)[1:])
        return (first_states(source, 1) or []) * count if alike else None
    if name == "unsqueeze":
        return [source] if axes in ((0,), (-3,)) and count == 1 else None
    if name == "expand":
        # A parameter that is the same for every sample.
        shared = is_constant(source) and len(shape_of(source)) == 3 and shape_of(source)[1] == 1
        return [aten.select.int(source, 0, i) for i in range(count)] if shared else None
    return [aten.select.int(source, 1, i) for i in range(count)]


def layers(
    x: Any, params: Sequence[Any], each: int, count: int, bidirectional: bool, batch_first: bool,
    layer: RecurrentLayer, firsts: Sequence[tuple[Any, ...]], dropout: float,
) -> Any:  # fmt: skip
    """What stands for the results of ``aten.lstm`` and its kind; None where it has no form.

    Args:
        x: ``[N, T, I]``, or ``[T, N, I]`` unless ``batch_first``; ``[N, R, T, I]`` of several sequences of a sample.
        params: of all layers and directions.
        each: of them, of one layer in one direction.
        count: of layers.
        bidirectional: whether each is two, of which one begins with the last step.
        batch_first: see ``x``.
        layer: one of them.
        firsts: first states.
        dropout: share of a layer's results that the next one does not get in training.
    """
    origin, directions = writer_of(x).origin, 2 if bidirectional else 1
    if len(shape_of(x)) not in ((3, 4) if batch_first else (3,)) or len(params) != each * count * directions:
        # Without a batch.
        return None
    x = x if batch_first else _batch_first(x)
    if isinstance(shape_of(x)[0], int) or not isinstance(shape_of(x)[-2], int):
        return None
    states, last = Sequential(x), list[tuple[Any, ...]]()
    for number in range(0, count * directions, directions):
        if number and dropout:
            states = _dropped(states, dropout)
        ways = []
        for place in range(number, number + directions):
            made = layer(states, tuple(params[place * each : (place + 1) * each]), firsts[place], place > number)
            if made is None:
                return None
            ways.append(made.states)
            last.append(made.last)
        states = ways[0] if directions == 1 else _beside(*ways)
    ends = [_read_last(origin, 1 + i, [one[i] for one in last]) for i in range(len(last[0]))]
    return _read_states(origin, states, batch_first), *ends


class StepsDropout(nn.Dropout):
    """Dropout of ``[N, T, C]``, or ``[N, R, T, C]``, that draws as a recurrent layer does between its layers: a step
    after the other."""

    def forward(self, input: Tensor) -> Tensor:
        """Of the same shape."""
        if not self.training:
            return input
        return super().forward(input.movedim(-2, 0).contiguous()).movedim(0, -2)


def _dropped(states: Sequential, share: float) -> Sequential:
    x = states.whole()
    network = x.node.graph.owning_module
    name = f"{writer_of(x).origin.name}_dropout"
    while hasattr(network, name):
        name += "_"
    network.add_submodule(name, StepsDropout(share).train(network.training))
    return Sequential(x.tracer.create_proxy("call_module", name, (x,), {}))


def reads(x: Any, index: int) -> bool:
    """Whether a result of the call that is decomposed, of which ``x`` is an argument, is read."""
    return any(each.users for each in _elements(writer_of(x).origin, index))


def _elements(origin: fx.Node, index: int) -> list[fx.Node]:
    return [each for each in origin.users if each.target is operator.getitem and each.args[1] == index]


def _swaps(node: fx.Node) -> bool:
    """Whether a call swaps the first two axes."""
    return _axes(node) == _swapped(node)


def _axes(node: fx.Node) -> list[int] | None:
    """The order in which a call of one tensor, and numbers, puts its axes; None of one that moves none."""
    name, arguments = operator_name(node), cast(tuple[Any, ...], node.args[1:])
    if name not in ("permute", "transpose", "swapaxes", "swapdims"):
        return None
    rank = len(_swapped(node))
    if name == "permute":
        return [axis % rank for axis in arguments[0]]
    one, other = (axis % rank for axis in arguments)
    return [other if axis == one else one if axis == other else axis for axis in range(rank)]


def _swapped(node: fx.Node) -> list[int]:
    """All axes of a call's result, the first two of them swapped."""
    return [1, 0, *range(2, len(node.meta["val"].shape))]


def _batch_first(x: Any) -> Any:
    axes = _axes(x.node)
    if axes is None:
        return permuted(x, _SWAPPED)
    return permuted(fx.Proxy(x.node.args[0], x.tracer), [axes[axis] for axis in _SWAPPED])


def _beside(forward: Sequential, backward: Sequential) -> Sequential:
    if forward.parts and backward.parts:
        pairs = zip(forward.parts, backward.parts, strict=True)
        return Sequential(parts=[aten.cat.default(list(pair), forward.axis) for pair in pairs])
    return Sequential(aten.cat.default([forward.whole(), backward.whole()], forward.axis + 1))


def _picked(reader: fx.Node, axis: int) -> int | None:
    """The place that a call picks along an axis, if that is what it does."""
    if operator_name(reader) != "select":
        return None
    _, along, place = cast(tuple[Any, ...], reader.args)
    rank = len(reader.meta["val"].shape) + 1
    return place if along % rank == axis and isinstance(place, int) else None


def _hand(reader: fx.Node, result: Any) -> None:
    reader.replace_all_uses_with(result.node)
    reader.graph.erase_node(reader)


def _read_states(origin: fx.Node, states: Sequential, batch_first: bool) -> Any:
    """The hidden states as those read them that read no single step; None where nobody does."""
    for element in _elements(origin, 0):
        for reader in list(element.users):
            step = _picked(reader, len(element.meta["val"].shape) - 2 if batch_first else 0)
            if step is not None:
                _hand(reader, states.at(step % len(states)))
            elif not batch_first and (axes := _axes(reader)) is not None:
                _hand(reader, permuted(states.whole(), [_SWAPPED[axis] for axis in axes]))
    if not any(element.users for element in _elements(origin, 0)):
        return None
    return states.whole() if batch_first else permuted(states.whole(), _SWAPPED)


def _read_last(origin: fx.Node, index: int, parts: list[Any]) -> Any:
    """Last states as those read them that read no single one; None where nobody does."""
    for element in _elements(origin, index):
        for reader in list(element.users):
            place, name = _picked(reader, 0), operator_name(reader)
            if place is not None:
                _hand(reader, parts[place])
            elif _swaps(reader):
                for one in list(reader.users):
                    if (place := _picked(one, 1)) is not None:
                        _hand(one, parts[place])
                if reader.users:
                    _hand(reader, _together(parts))
            elif name == "squeeze" and len(parts) == 1 and reader.args[1:] in ((0,), ([0],), (-3,)):
                _hand(reader, parts[0])
            elif name == "unbind" and reader.args[1:] in ((), (0,)):
                for one in list(reader.users):
                    _hand(one, parts[one.args[1]])  # type: ignore[index]
                reader.graph.erase_node(reader)
    if not any(element.users for element in _elements(origin, index)):
        return None
    if parts[0] is None:
        return None
    together = _together(parts)
    return permuted(together, _swapped(together.node))


def _together(parts: list[Any]) -> Any:
    """``[N, layers, H]``, or ``[N, layers, R, H]``."""
    return concatenated([aten.unsqueeze.default(each, 1) for each in parts], 1)
