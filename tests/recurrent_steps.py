"""Recurrent layers and cells as steps of networks drawn at random, of a seed from which on nothing else draws.

A sequence is what has two axes beside the batch, in either order; few steps of it are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.random_networks import Shape, Step

if TYPE_CHECKING:
    from tests.random_drawing import Drawing

__all__ = ["RECURRENT_KINDS"]

#: Of the result's first part: all steps, the last one, the first.
_READ_STATES = ("{0}[0]", "{0}[0][:, -1]", "{0}[0][:, 0]")
#: Of the last states, of a layer with one state and of one with two.
_READ_LAST = {"GRU": "{0}[1][{1}]", "RNN": "{0}[1][{1}]", "LSTM": "{0}[1][0][{1}]"}


def _layer(d: Drawing, source: int, shape: Shape) -> Step | None:
    """Any layer: depth, directions, biases, time first or not, and one of the ways in which results are read."""
    if len(shape) not in (2, 3):
        return None
    steps = d.integer(1, 6)
    if len(shape) == 3:
        taken, width = f"{{0}}.flatten(2)[:, :, :{steps}].permute(0, 2, 1)", shape[0]
        steps = min(steps, shape[1] * shape[2])
    elif d.rng.random() < 0.5:
        taken, width, steps = f"{{0}}[:, :{steps}]", shape[1], min(steps, shape[0])
    else:
        taken, width, steps = f"{{0}}[:, :, -{steps}:].permute(0, 2, 1)", shape[0], min(steps, shape[1])
    name = d.pick(["LSTM", "LSTM", "LSTM", "GRU", "RNN"])
    size, layers, both = d.integer(1, 8), d.pick([1, 1, 2]), bool(d.rng.random() < 0.3)
    more = ", nonlinearity='relu'" if name == "RNN" and d.rng.random() < 0.5 else ""
    batch_first = bool(d.rng.random() < 0.7)
    module = (
        f"nn.{name}({width}, {size}, num_layers={layers}, bidirectional={both}, bias={d.pick([True, True, False])}, "
        f"batch_first={batch_first}{more})"
    )
    count, out = layers * (1 + both), size * (1 + both)
    if d.rng.random() < 0.3:
        call = f"{{self}}({taken if batch_first else f'({taken}).transpose(0, 1)'})"
        return Step(_READ_LAST[name].format(call, d.integer(0, count - 1)), (source,), (size,), module)
    if not batch_first:
        read = d.pick(["{0}.permute(1, 0, 2)", "{0}[-1]"]).format(f"{{self}}(({taken}).transpose(0, 1))[0]")
        return Step(read, (source,), (size * (1 + both),) if read.endswith("[-1]") else (steps, out), module)
    read = d.pick(_READ_STATES)
    left = (steps, out) if read == _READ_STATES[0] else (out,)
    return Step(read.format(f"{{self}}({taken})"), (source,), left, module)


def _cell(d: Drawing, source: int, shape: Shape) -> Step | None:
    """A cell from zeros, or from another value of its size."""
    if len(shape) != 1:
        return None
    name, size = d.pick(["LSTM", "GRU", "RNN"]), d.integer(1, 8)
    state = d.partner(source, lambda other: other == (size,))
    module = f"nn.{name}Cell({shape[0]}, {size}, bias={d.pick([True, False])})"
    if name == "LSTM":
        read = d.pick(["[0]", "[1]"])
        given = "" if state is None else ", ({1}, {1})"
    else:
        read, given = "", "" if state is None else ", {1}"
    inputs = (source,) if state is None else (source, state)
    return Step(f"{{self}}({{0}}{given}){read}", inputs, (size,), module)


def _flip(d: Drawing, source: int, shape: Shape) -> Step | None:
    first = d.integer(0, len(shape) - 1)
    axes = tuple(range(1 + first, 1 + d.integer(first + 1, len(shape))))
    return Step(f"{{0}}.flip({axes})", (source,), shape)


RECURRENT_KINDS: list[Any] = [*[_layer] * 14, *[_cell] * 8, *[_flip] * 3]
