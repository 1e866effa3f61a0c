"""Recurrent layers: an LSTM as one op of a layer and direction, GRUs and RNNs step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from qtorch.capture.decomposition_table import concatenated, decomposes, reshaped, shape_of, sliced, writer_of
from qtorch.capture.nodes import operator_name
from qtorch.families.long_short_term_memory import sequence_lstm

aten = torch.ops.aten

_ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})


def _is_zeros(x: Any) -> bool:
    return operator_name(x.node) in _ZEROS


def _parts(matrix: Any, count: int) -> list[Any]:
    """Equal parts along the first axis."""
    size = shape_of(matrix)[0] // count
    return [aten.slice.Tensor(matrix, 0, i * size, (i + 1) * size) for i in range(count)]


def _bias(given: tuple[Any, ...], weight: Any) -> Any:
    """Both biases as one; zeros where there are none."""
    if given:
        return aten.add.Tensor(*given)
    return writer_of(weight).create_proxy("call_function", aten.zeros.default, ([shape_of(weight)[0]],), {})


def _lstm_layer(x: Any, parameters: tuple[Any, ...]) -> Any:
    """``[N, T, H]`` of ``[N, T, I]``."""
    of_input, of_state, *biases = parameters
    gates = (*_parts(of_input, 4), *_parts(of_state, 4), *_parts(_bias(tuple(biases), of_input), 4))
    return x.tracer.create_proxy("call_function", sequence_lstm, (x, *gates), {})


@decomposes("lstm")
def _lstm(
    input: Any, hx: Any, params: Any, has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool, batch_first: bool,
) -> Any:  # fmt: skip
    each = 4 if has_biases else 2
    directions = 2 if bidirectional else 1
    if len(params) != each * num_layers * directions or not all(map(_is_zeros, hx)) or not batch_first:
        return None
    x = input
    for layer in range(num_layers):
        x = _lstm_layer(x, tuple(params[layer * each : (layer + 1) * each]))
    return x, None, None
