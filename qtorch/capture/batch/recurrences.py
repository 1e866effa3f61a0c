"""Recurrent layers of sequences that begin with time, as of such that begin with the batch; their states likewise.

A layer that is told so gets its sequence with the batch in front, behind it the sequences that a sample has. First
and last states are ``[layers, B, H]`` for it, whatever it is told: they are turned where they go in and come out.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch.calls import Held, MovedCall, Result, rule
from qtorch.capture.batch.layout import layout_of
from qtorch.capture.nodes import is_zeros, operator_name

aten = torch.ops.aten

#: What makes first states of nothing, or of what has the batch in front: they stay.
_MADE = frozenset({"expand", "full", "new_full", "new_zeros", "stack", "unsqueeze", "zeros", "zeros_like"})

#: Of all sequences together that a sample has, which are computed one by one: the layer makes calls for every step.
_MOST_STEPS = 512

_SWAPPED = [1, 0, 2]


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(call: MovedCall) -> Result:
    x = call.held(call.node.args[0])
    batch_first = call.arguments.get("batch_first")
    if x is None or batch_first is None or x.layout.rank != 3 or x.layout.axis != (0 if batch_first else 1):
        return None
    hx = call.arguments["hx"]
    states = hx if isinstance(hx, list | tuple) else [hx]
    if x.layout.merged and all(isinstance(each, fx.Node) and is_zeros(each) for each in states):
        return _together(call, x, batch_first)
    rows, place = x.layout.outer * x.layout.inner, x.layout.place(x.layout.axis)
    if not x.layout.merged:
        results = [_called(call, x.node, 0)]
    elif rows * call.shape[1 if batch_first else 0] <= _MOST_STEPS:
        # Sequences that a sample has several of, one by one.
        results = [_called(call, call.emit(aten.select.int, x.node, place, row), row) for row in range(rows)]
    else:
        return None
    if any(result is None for result in results):
        return None
    merged = x.layout.merged
    parts: list[Any] = [list(each) for each in zip(*results, strict=True)]
    places = [place, *[2] * (len(parts) - 1)]
    sequence, *ends = [
        call.emit(aten.stack.default, each, at) if merged else each[0] for each, at in zip(parts, places, strict=True)
    ]
    return [
        Held(sequence, x.layout.with_sizes(call.shape)),
        *(
            Held(end, layout_of(shape, 1, x.layout.outer, x.layout.inner))
            for end, shape in zip(ends, call.shapes[1:], strict=True)
        ),
    ]


@rule("gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
def _cell(call: MovedCall) -> Result:
    """One step of all that a sample has, ``[B, R, C]``: the steps' calls are of the last axis."""
    hx = call.arguments["hx"]
    several = isinstance(hx, list | tuple)
    x, *states = (call.held(each) for each in (call.arguments["input"], *(hx if several else [hx])))
    if x is None or any(each is None or each.layout.batch != x.layout.batch for each in states):
        return None
    nodes = [each.node for each in states if each is not None]
    values = [x.node.meta["val"].new_empty((*x.node.meta["val"].shape[:2], shape[1])) for shape in call.shapes]
    changes = {"input": x.node, "hx": nodes if several else nodes[0]}
    layouts = [x.layout.with_sizes(shape) for shape in call.shapes]
    if not several:
        return Held(call.again_as(changes, values[0]), layouts[0])
    node = call.again_as(changes, values)
    return [Held(call.emit(operator.getitem, node, at), layout) for at, layout in enumerate(layouts)]


def _together(call: MovedCall, x: Held, batch_first: bool) -> Result:
    """What the layer makes of all sequences of each sample ``[B, R, T, C]``, from zeros."""
    order = [0, 1, 2, 3] if batch_first else [0, 2, 1, 3]
    given = x.node if batch_first else call.emit(aten.permute.default, x.node, order)
    value: torch.Tensor = given.meta["val"]
    sizes, (states, *lasts) = value.shape, call.shapes
    node = call.again_as(
        {"input": given, "batch_first": True},
        [
            value.new_empty((*sizes[:3], states[2])),
            *(value.new_empty((last[0], *sizes[:2], last[2])) for last in lasts),
        ],
    )
    sequence, *ends = [call.emit(operator.getitem, node, at) for at in range(len(call.shapes))]
    sequence = sequence if batch_first else call.emit(aten.permute.default, sequence, order)
    layouts = [x.layout.with_sizes(states), *(x.layout.with_sizes(last, 1) for last in lasts)]
    nodes = [sequence, *(call.emit(aten.permute.default, end, [1, 0, 2, 3]) for end in ends)]
    return [Held(each, layout) for each, layout in zip(nodes, layouts, strict=True)]


def _called(call: MovedCall, x: fx.Node, row: int) -> list[fx.Node] | None:
    """What the layer makes of a sequence ``[B, T, C]`` of each sample: all states, and the last ones ``[B, L, H]``."""
    hx = call.arguments["hx"]
    states = [_turned(call, state, row) for state in (hx if isinstance(hx, list | tuple) else [hx])]
    if None in states:
        return None
    batch, steps = x.meta["val"].shape[:2]
    node = call.again_as(
        {"input": x, "hx": states if isinstance(hx, list | tuple) else states[0], "batch_first": True},
        [
            x.meta["val"].new_empty((batch, steps, call.shape[2])),
            *(x.meta["val"].new_empty((shape[0], batch, shape[2])) for shape in call.shapes[1:]),
        ],
    )
    ends = [call.emit(operator.getitem, node, at) for at in range(len(call.shapes))]
    return [ends[0], *(call.emit(aten.permute.default, end, _SWAPPED) for end in ends[1:])]


def _turned(call: MovedCall, state: Any, row: int) -> fx.Node | None:
    """A first state as a layer takes it, for one of the sequences that a sample has."""
    held = call.held(state)
    if held is None or held.layout.axis != 1:
        # A constant that is the same for every sample would say how many there are.
        return None
    made: fx.Node = state
    if held.layout.merged and not is_zeros(made):
        return call.emit(aten.permute.default, call.emit(aten.select.int, held.node, 2, row), _SWAPPED)
    return made if operator_name(made) in _MADE else call.emit(aten.permute.default, held.node, _SWAPPED)
