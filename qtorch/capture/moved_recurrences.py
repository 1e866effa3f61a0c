"""Recurrent layers whose batch is in axis 1, of the sequence or of the states: as layers that have it first."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from qtorch.capture.batch_layout import layout_of
from qtorch.capture.moved_calls import Held, MovedCall, Result, rule
from qtorch.capture.nodes import operator_name
from qtorch.capture.recurrent_layers import ZEROS

aten = torch.ops.aten

_TURNED = [1, 0, 2]


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def _recurrence(call: MovedCall) -> Result:
    """States ``[layers, N, H]`` have the batch in axis 1 whatever the sequence has."""
    given = call.arguments
    sequence = call.held(given["input"])
    if sequence is None or sequence.layout.rank != 3 or sequence.layout.merged:
        return None
    if sequence.layout.axis != (0 if given["batch_first"] else 1):
        return None
    several = isinstance(given["hx"], tuple | list)
    states = [_state(call, each) for each in (given["hx"] if several else [given["hx"]])]
    changes = {"input": sequence.node, "hx": states if several else states[0], "batch_first": True}
    first, *others = call.node.meta["val"]
    value = (first.transpose(0, sequence.layout.axis), *others)
    made = call.again(changes, value)
    results = []
    for place, shape in enumerate(call.shapes):
        one = call.emit(operator.getitem, made, place)
        if place:
            one = call.emit(aten.permute.default, one, _TURNED)
        results.append(Held(one, layout_of(shape, 1 if place else sequence.layout.axis, 1, 1)))
    return results


def _state(call: MovedCall, state: Any) -> fx.Node:
    """A first state as the layer takes it; zeros as they are, so that they can be told."""
    held = call.held(state)
    if held is None or operator_name(state) in ZEROS:
        return state  # type: ignore[no-any-return]
    return call.emit(aten.permute.default, held.node, _TURNED)
