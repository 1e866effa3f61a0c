"""Recurrent layers of sequences that begin with time, as of such that begin with the batch; their states likewise.

A layer that is told so gets its sequence with the batch in front. First and last states are ``[layers, B, H]`` for it,
whatever it is told: they are turned where they go in and come out.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch.calls import Held, MovedCall, Result, rule
from qtorch.capture.batch.layout import layout_of
from qtorch.capture.nodes import operator_name

aten = torch.ops.aten

#: What makes first states of nothing, or of what has the batch in front: they stay.
_MADE = frozenset({"expand", "full", "new_full", "new_zeros", "stack", "unsqueeze", "zeros", "zeros_like"})

_SWAPPED = [1, 0, 2]


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrent(call: MovedCall) -> Result:
    x = call.held(call.node.args[0])
    batch_first = call.arguments.get("batch_first")
    if x is None or batch_first is None or x.layout.merged or x.layout.rank != 3:
        return None
    if x.layout.axis != (0 if batch_first else 1):
        return None
    hx = call.arguments["hx"]
    states = [_turned(call, state) for state in (hx if isinstance(hx, list | tuple) else [hx])]
    if None in states:
        return None
    batch, steps = x.node.meta["val"].shape[:2]
    node = call.again_as(
        {"input": x.node, "hx": states if isinstance(hx, list | tuple) else states[0], "batch_first": True},
        [x.node.meta["val"].new_empty(shape) for shape in ((batch, steps, call.shape[2]), *call.shapes[1:])],
    )
    ends = [call.emit(operator.getitem, node, at) for at in range(1, len(call.shapes))]
    return [
        Held(node, x.layout.with_sizes(call.shape)),
        *(
            Held(call.emit(aten.permute.default, end, _SWAPPED), layout_of(shape, 1, 1, 1))
            for end, shape in zip(ends, call.shapes[1:], strict=True)
        ),
    ]


def _turned(call: MovedCall, state: Any) -> fx.Node | None:
    """A first state as a layer takes it."""
    held = call.held(state)
    if held is None or held.layout.axis != 1 or held.layout.merged:
        # A constant that is the same for every sample would say how many there are.
        return None
    made: fx.Node = state
    return made if operator_name(made) in _MADE else call.emit(aten.permute.default, held.node, _SWAPPED)
