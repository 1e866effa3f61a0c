"""Graphs with states, drawn at random: windows that slide, delay lines, feedback; and SVDF and LSTM with their own.

All tensors but weights lie on one grid, so that anything may follow anything.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from export.graph.ir import Graph, Node, State, Value, check
from export.rows import sample_graph
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS

__all__ = ["GRID", "drawn", "of_samples", "runs"]

GRID = QParams((0.0625,), (-7,))


class _Drawing:
    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.values, self.nodes = rng, dict[str, Value](), list[Node]()
        self.states: list[State] = []

    def number(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most, endpoint=True))

    def tensor(self, stem: str, shape: tuple[int, ...]) -> str:
        name = f"{stem}{len(self.values)}"
        self.values[name] = Value(shape, GRID)
        return name

    def op(self, op: str, attrs: dict[str, object], inputs: list[str], shape: tuple[int, ...]) -> str:
        output = self.tensor(op, shape)
        self.nodes.append(Node(op, attrs, tuple(inputs), (output,)))
        return output

    def first(self, shape: tuple[int, ...]) -> np.ndarray:
        """The code of zero, or any codes."""
        if self.rng.random() < 0.5:
            return np.full(shape, GRID.zero_point[0], np.int8)
        return self.rng.integers(-128, 128, shape, dtype=np.int8)

    def state(self, shape: tuple[int, ...]) -> str:
        return self.tensor("state", shape)

    def becomes(self, state: str, after: str) -> None:
        self.states.append(State(state, after, self.first(self.values[state].shape)))

    def dense(self, source: str, width: int) -> str:
        inputs = self.values[source].shape[-1]
        scale = float(np.float32(self.rng.uniform(0.2, 1.0) / 64))
        weight, bias = f"weight{len(self.values)}", f"bias{len(self.values)}"
        self.values[weight] = Value(
            (width, inputs), QParams((scale,), (0,)), self.rng.integers(-127, 128, (width, inputs), dtype=np.int8)
        )
        product = float(np.float32(GRID.scale[0]) * np.float32(scale))
        data = self.rng.integers(-500, 500, width, dtype=np.int32)
        self.values[bias] = Value((width,), QParams((product,), (0,), "int32"), data)
        attrs = {"activation": "none", "keep_num_dims": False}
        return self.op("fully_connected", attrs, [source, weight, bias], (1, width))

    def window(self, source: str) -> str:
        """The last inputs, the newest behind them, as in streaming convolutions."""
        _, width = self.values[source].shape
        length = self.number(1, 4)
        state = self.state((1, length, width))
        newest = self.op("reshape", {"shape": (1, 1, width)}, [source], (1, 1, width))
        whole = self.op("concatenation", {"axis": 1}, [state, newest], (1, length + 1, width))
        attrs = {"begin": (0, 1, 0), "size": (-1, length, width)}
        self.becomes(state, self.op("slice", attrs, [whole], (1, length, width)))
        size = (1, (length + 1) * width)
        return self.dense(self.op("reshape", {"shape": size}, [whole], size), self.number(2, 5))

    def shrinking_window(self, source: str) -> str:
        """The same, read without its oldest: what it becomes is what is read."""
        _, width = self.values[source].shape
        length = self.number(2, 4)
        state = self.state((1, length, width))
        rest = self.op("slice", {"begin": (0, 1, 0), "size": (-1, length - 1, width)}, [state], (1, length - 1, width))
        newest = self.op("reshape", {"shape": (1, 1, width)}, [source], (1, 1, width))
        whole = self.op("concatenation", {"axis": 1}, [rest, newest], (1, length, width))
        self.becomes(state, whole)
        return self.dense(self.op("reshape", {"shape": (1, length * width)}, [whole], (1, length * width)), 3)

    def delayed(self, source: str) -> str:
        """What was there some runs ago: states that become each other."""
        shape = self.values[source].shape
        for _ in range(self.number(1, 3)):
            state = self.state(shape)
            self.becomes(state, source)
            source = state
        return source

    def feedback(self, source: str) -> str:
        """A number of the last run added to this one's."""
        shape = self.values[source].shape
        state = self.state(shape)
        total = self.op("add", {"activation": "none"}, [source, state], shape)
        self.becomes(state, self.dense(total, shape[1]) if self.rng.random() < 0.5 else total)
        return total

    def held(self, source: str) -> str:
        """A state that stays, or becomes a constant after the first run."""
        shape = self.values[source].shape
        state = self.state(shape)
        if self.rng.random() < 0.5:
            self.becomes(state, state)
        else:
            constant = f"constant{len(self.values)}"
            self.values[constant] = Value(shape, GRID, self.rng.integers(-128, 128, shape, dtype=np.int8))
            self.becomes(state, constant)
        return self.op("add", {"activation": "none"}, [source, state], shape)


def drawn(seed: int) -> Graph:
    """A network of a few streaming layers; its outputs may be states, or what states become."""
    rng = np.random.default_rng(seed)
    drawing = _Drawing(rng)
    source = drawing.tensor("in", (1, drawing.number(1, 5)))
    layers = (_Drawing.window, _Drawing.shrinking_window, _Drawing.delayed, _Drawing.feedback, _Drawing.held)
    made = source
    for _ in range(drawing.number(1, 4)):
        made = layers[drawing.number(0, len(layers) - 1)](drawing, made)
    outputs = [drawing.dense(made, 3)]
    others = [state.after for state in drawing.states if drawing.values[state.after].data is None]
    others += [state.value for state in drawing.states]
    if rng.random() < 0.4:
        outputs.append(others[drawing.number(0, len(others) - 1)])
    outputs = [name for name in outputs if name != source]
    order = rng.permutation(len(drawing.states))
    states = tuple(drawing.states[i] for i in order)
    return check(Graph(drawing.values, tuple(drawing.nodes), (source,), tuple(outputs), states=states))


@cache
def of_samples() -> list[tuple[str, Graph]]:
    """The samples of rows that carry something, those in which they do, with what each is."""
    rows = [row for row in ROWS.values() if row.carried]
    return [
        (f"{row.name}: {sample.label}", sample_graph(row, sample))
        for row in rows
        for sample in row.samples()
        if set(row.carried) <= set(sample.arrays)
    ]


def runs(graph: Graph, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Codes for as many runs: any, and stretches of the ends of the range."""
    rng = np.random.default_rng(seed)
    arrays = []
    for name in graph.inputs:
        value = graph.values[name]
        low, high = value.quantization.code_range
        codes = rng.integers(low, high, (count * value.shape[0], *value.shape[1:]), endpoint=True)
        quiet = rng.random(len(codes)) < 0.3
        codes[quiet] = rng.choice([low, high, 0], int(quiet.sum())).reshape(-1, *[1] * (codes.ndim - 1))
        arrays.append(codes.astype(value.array_dtype))
    return tuple(arrays)


def with_first(graph: Graph, rng: np.random.Generator) -> Graph:
    """The same graph whose states begin with any codes."""
    states = tuple(
        replace(state, first=rng.integers(-128, 128, state.first.shape).astype(state.first.dtype))
        for state in graph.states
    )
    return replace(graph, states=states)
