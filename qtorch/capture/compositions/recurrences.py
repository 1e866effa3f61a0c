"""Recurrent layers and cells: an LSTM from zeros as one op for each layer and direction, everything else step by step.

What is written out here is one layer in one direction; :mod:`qtorch.capture.compositions.recurrent_layers` puts layers
together.
Steps share their weights, which are computed once, and the hidden states of all steps are said to lie on one grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from qtorch.capture.compositions.recurrent_layers import (
    Made,
    RecurrentLayer,
    Sequential,
    first_states,
    layers,
    reads,
)
from qtorch.capture.compositions.table import decomposes, shape_of, sliced, writer_of
from qtorch.capture.nodes import ONE_GRID, is_zeros, operator_name, source_line
from qtorch.errors import UnsupportedLayer
from qtorch.families.long_short_term_memory import sequence_lstm

aten = torch.ops.aten

#: The most steps that are written out: of an LSTM or a GRU each is a dozen ops, of an RNN four.
_MOST_STEPS, _MOST_SIMPLE_STEPS = 64, 192

_LSTM_OF_ANY_LENGTH = (
    "without proj_size, beginning with zeros and without its c_n read, an LSTM of any length is one op"
)
_OTHER_THAN_LSTM = "nn.LSTM without proj_size, which begins with zeros, is one op of any length"


@decomposes("lstm")
def _lstm(
    input: Any, hx: Any, params: Any, has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool, batch_first: bool,
) -> Any:  # fmt: skip
    """One op a layer and direction, unless it begins elsewhere than at zeros or its last cell state is read.

    The op of TFLite Micro refuses a projection: of such steps are written out.
    """
    count = num_layers * (2 if bidirectional else 1)
    own = 4 if has_biases else 2
    projected = len(params) == count * (own + 1)
    starts = [first_states(each, count) for each in hx]
    if not all(starts):
        return None
    firsts = list(zip(*starts, strict=True))
    plain = not projected and not reads(input, 2) and all(one is None for pair in firsts for one in pair)
    layer = _lstm_op if plain else _lstm_projected if projected else _lstm_steps
    return layers(input, params, own + projected, num_layers, bidirectional, batch_first, layer, firsts, dropout)


def _steps_of(layer: RecurrentLayer) -> Any:
    """The decomposition of layers with one state."""

    def written_out(
        input: Any, hx: Any, params: Any, has_biases: bool, num_layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool,
    ) -> Any:  # fmt: skip
        firsts = first_states(hx, num_layers * (2 if bidirectional else 1))
        if not firsts:
            return None
        each = 4 if has_biases else 2
        starts = [(one,) for one in firsts]
        return layers(input, params, each, num_layers, bidirectional, batch_first, layer, starts, dropout)

    return written_out


def _cell_of(layer: RecurrentLayer) -> Any:
    """The decomposition of cells with one state: a layer of one step."""

    def written_out(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
        return _one_step(layer, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]

    return written_out


@decomposes("lstm_cell")
def _lstm_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    return _one_step(_lstm_steps, input, hx, w_ih, w_hh, b_ih, b_hh)


def _one_step(layer: RecurrentLayer, x: Any, states: Sequence[Any], *given: Any) -> tuple[Any, ...]:
    parameters = tuple(each for each in given if each is not None)
    firsts = tuple(None if is_zeros(each.node) else each for each in states)
    made = layer(Sequential(parts=[x]), parameters, firsts, False)
    assert made is not None
    return made.last


# One layer in one direction.


def _lstm_op(x: Sequential, parameters: tuple[Any, ...], first: tuple[Any, ...], backward: bool) -> Made | None:
    """As one op; backward that of the reversed steps."""
    of_input, of_state, *biases = parameters
    whole = aten.flip.default(x.whole(), [x.axis]) if backward else x.whole()
    size = shape_of(of_state)[1]
    if shape_of(of_state)[0] != 4 * size:
        return None
    gates = (_quarters(of_input), _quarters(of_state), _quarters(_zeros(of_input) if not biases else _sum(biases)))
    y = whole.tracer.create_proxy("call_function", sequence_lstm, (whole, *gates[0], *gates[1], *gates[2]), {})
    last = aten.select.int(y, x.axis, -1)
    return Made(Sequential(aten.flip.default(y, [x.axis]) if backward else y), (last, None))


def _lstm_projected(x: Sequential, parameters: tuple[Any, ...], first: tuple[Any, ...], backward: bool) -> Made | None:
    *plain, projection = parameters
    return _lstm_steps(x, tuple(plain), first, backward, projection)


def _lstm_steps(
    x: Sequential, parameters: tuple[Any, ...], first: tuple[Any, ...], backward: bool, projection: Any = None
) -> Made | None:
    of_input, of_state, *biases = parameters
    size = shape_of(of_state)[0] // 4
    _require_few(x, _MOST_STEPS, _LSTM_OF_ANY_LENGTH)
    of_inputs = x.through(of_input, _sum(biases))
    hidden, cell = first
    hiddens = []
    for step in _order(x, backward):
        gates = of_inputs.at(step)
        if hidden is not None:
            gates = aten.add.Tensor(gates, aten.linear.default(hidden, of_state))
        opening = aten.sigmoid.default(_numbers(gates, 0, 2 * size))
        candidate = aten.tanh.default(_numbers(gates, 2 * size, 3 * size))
        shown = aten.sigmoid.default(_numbers(gates, 3 * size, 4 * size))
        added = aten.mul.Tensor(_numbers(opening, 0, size), candidate)
        if cell is not None:
            kept = aten.mul.Tensor(_numbers(opening, size, 2 * size), cell)
            cell = _on_one_grid(aten.add.Tensor(kept, added), of_state, "cell")
        else:
            cell = _on_one_grid(added, of_state, "cell")
        hidden = aten.mul.Tensor(shown, aten.tanh.default(cell))
        hidden = hidden if projection is None else aten.linear.default(hidden, projection)
        hiddens.append(_on_one_grid(hidden, of_state, "hidden"))
    return Made(_in_order(hiddens, backward), (hidden, cell))


def _gru_steps(x: Sequential, parameters: tuple[Any, ...], first: tuple[Any, ...], backward: bool) -> Made | None:
    of_input, of_state, *biases = parameters
    size = shape_of(of_state)[1]
    _require_few(x, _MOST_STEPS)
    # Of the candidate, what comes of the state is multiplied by a gate, its bias too.
    gating, candidate = _at(2 * size, of_input), _at(2 * size, of_state)
    gate_bias, input_bias, state_bias = None, None, None
    if biases:
        (of_inputs, input_bias), (of_states, state_bias) = (_at(2 * size, each) for each in biases)
        gate_bias = aten.add.Tensor(of_inputs, of_states)
    gates, candidates = x.through(gating[0], gate_bias), x.through(gating[1], input_bias)
    (hidden,) = first
    hiddens = []
    for step in _order(x, backward):
        opening, fresh, of_hidden = gates.at(step), candidates.at(step), state_bias
        if hidden is not None:
            of_gates = _on_one_grid(aten.linear.default(hidden, candidate[0]), of_state, "gates of the state")
            opening = _on_one_grid(aten.add.Tensor(opening, of_gates), of_state, "gates")
            of_hidden = aten.linear.default(hidden, candidate[1], state_bias)
            of_hidden = _on_one_grid(of_hidden, of_state, "candidate of the state")
        opening = aten.sigmoid.default(opening)
        if of_hidden is not None:
            let_in = aten.mul.Tensor(_numbers(opening, 0, size), of_hidden)
            if hidden is not None:
                let_in = _on_one_grid(let_in, of_state, "let in")
            fresh = _on_one_grid(aten.add.Tensor(fresh, let_in), of_state, "candidate")
        fresh, kept = aten.tanh.default(fresh), _numbers(opening, size, 2 * size)
        if hidden is None:
            hidden = aten.sub.Tensor(fresh, aten.mul.Tensor(kept, fresh))
        else:
            change = _on_one_grid(aten.sub.Tensor(hidden, fresh), of_state, "change")
            hidden = aten.add.Tensor(fresh, _on_one_grid(aten.mul.Tensor(kept, change), of_state, "kept of it"))
        hiddens.append(_on_one_grid(hidden, of_state, "hidden"))
    return Made(_in_order(hiddens, backward), (hidden,))


def _rnn_steps(function: Any) -> RecurrentLayer:
    def steps(x: Sequential, parameters: tuple[Any, ...], first: tuple[Any, ...], backward: bool) -> Made | None:
        of_input, of_state, *biases = parameters
        _require_few(x, _MOST_SIMPLE_STEPS)
        of_inputs = x.through(of_input, _sum(biases))
        (hidden,) = first
        hiddens = []
        for step in _order(x, backward):
            total = of_inputs.at(step)
            if hidden is not None:
                total = aten.add.Tensor(total, aten.linear.default(hidden, of_state))
            if function is aten.relu.default:
                # Which may be fused into the sum.
                _on_one_grid(total, of_state, "hidden")
            hidden = _on_one_grid(function(total), of_state, "hidden")
            hiddens.append(hidden)
        return Made(_in_order(hiddens, backward), (hidden,))

    return steps


decomposes("gru")(_steps_of(_gru_steps))
decomposes("rnn_tanh")(_steps_of(_rnn_steps(aten.tanh.default)))
decomposes("rnn_relu")(_steps_of(_rnn_steps(aten.relu.default)))
decomposes("gru_cell")(_cell_of(_gru_steps))
decomposes("rnn_tanh_cell")(_cell_of(_rnn_steps(aten.tanh.default)))
decomposes("rnn_relu_cell")(_cell_of(_rnn_steps(aten.relu.default)))


def _require_few(x: Sequential, most: int, longer: str = _OTHER_THAN_LSTM) -> None:
    """Refuse a layer of more steps than can be written out.

    Raises:
        UnsupportedLayer: there are more.
    """
    if len(x) > most:
        call = writer_of(x.tensor).origin
        line = source_line(call)
        raise UnsupportedLayer(
            where=f"call of {operator_name(call)}" + (f" ({line})" if line else ""),
            expected=f"at most {most} steps of a recurrent layer that is written out, step by step",
            got=f"{len(x)} steps",
            remedy=f"{longer}; or take fewer steps, as behind a convolution with a stride; or let the network compute "
            "one step, by a cell, with its states as inputs and outputs",
        )


def _order(x: Sequential, backward: bool) -> Sequence[int]:
    return range(len(x))[::-1] if backward else range(len(x))


def _in_order(hiddens: list[Any], backward: bool) -> Sequential:
    return Sequential(parts=hiddens[::-1] if backward else hiddens)


def _numbers(x: Any, start: int, end: int) -> Any:
    """From the last axis."""
    return sliced(x, len(shape_of(x)) - 1, start, end)


def _at(place: int, tensor: Any) -> tuple[Any, Any]:
    """The parts of a constant before and behind a place of its first axis."""
    end = shape_of(tensor)[0]
    return aten.slice.Tensor(tensor, 0, 0, place), aten.slice.Tensor(tensor, 0, place, end)


def _quarters(tensor: Any) -> list[Any]:
    size = shape_of(tensor)[0] // 4
    return [aten.slice.Tensor(tensor, 0, i * size, (i + 1) * size) for i in range(4)]


def _sum(biases: Sequence[Any]) -> Any:
    return aten.add.Tensor(*biases) if biases else None


def _zeros(weight: Any) -> Any:
    """A bias for the op, which takes none without."""
    return weight.tracer.create_proxy("call_function", aten.zeros.default, ([shape_of(weight)[0]],), {})


def _on_one_grid(x: Any, weight: Any, state: str) -> Any:
    """``x``, said to share its grid with what else a layer of this weight has for that state."""
    x.node.meta[ONE_GRID] = (str(weight.node.target), writer_of(x).origin.name, state)
    return x
