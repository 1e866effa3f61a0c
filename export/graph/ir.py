"""The graph, of integers or in floats, between a network and every writer. It knows no file format and no torch module.

A :class:`Graph` is frozen; passes return a new one. :func:`check` states what every graph must satisfy and runs between
passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np

from export.graph.view import View
from qtorch.numbers.qparams import INDICES, QParams
from qtorch.ops import ROWS
from qtorch.row.row import Attrs, Row
from qtorch.row.shape_rule import BadShape

__all__ = ["BrokenConstraint", "Graph", "MalformedGraph", "Node", "State", "Value", "View", "check", "require_shapes"]


class MalformedGraph(AssertionError):
    """A graph breaks a rule that every graph satisfies: a defect of the pass or reader that made it."""


class BrokenConstraint(MalformedGraph):
    """A node has grids that its row does not compute with."""


@dataclass(frozen=True)
class Value:
    """One tensor.

    Attributes:
        shape: static; the batch axis of a run-time tensor is 1, or counts the rows that a sample has there, between
            two RESHAPEs: whoever computes several samples has as many times as many.
        qparams: ``None`` for a float32 tensor (or a float16 constant); of whole numbers one of
            :data:`qtorch.numbers.qparams.WHOLE`, of indices in a graph of floats too.
        data: the codes of a constant, of the qparams' dtype, or its floats; ``None`` for a run-time tensor.
    """

    shape: tuple[int, ...]
    qparams: QParams | None
    data: np.ndarray | None = None

    @property
    def dtype(self) -> str:
        """``"float32"``, ``"float16"``, or one of :data:`qtorch.numbers.grid.CODE_RANGE`."""
        if self.qparams is not None:
            return self.qparams.dtype
        return "float16" if self.data is not None and self.data.dtype == np.float16 else "float32"

    @property
    def of_indices(self) -> bool:
        """Whether it is computed, or comes in, as indices or other whole numbers, which its codes are themselves."""
        return self.data is None and self.qparams is not None and self.qparams.is_whole

    @property
    def array_dtype(self) -> str:
        """NumPy's type for the codes: int4 is held in int8."""
        return "int8" if self.dtype == "int4" else self.dtype

    @property
    def rows(self) -> int:
        """How long a sample is along the first axis, along which samples are stacked: the batch of a file, mostly 1."""
        return self.shape[0] if self.shape else 1

    @property
    def elements(self) -> int:
        """How many numbers it has; of a run-time tensor, one sample's."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What files, flash and working memory hold of it; of int4, two elements to a byte."""
        if self.dtype == "int4":
            return -(-self.elements // 2)
        return self.elements * np.dtype(self.dtype).itemsize

    @property
    def contents(self) -> np.ndarray:
        """The data of a constant.

        Raises:
            MalformedGraph: a run-time tensor has none.
        """
        if self.data is None:
            raise MalformedGraph(f"a tensor of {self.dtype} {self.shape}: expected a constant, got no data")
        return self.data

    @property
    def quantization(self) -> QParams:
        """The qparams of a tensor that has a grid.

        Raises:
            MalformedGraph: one of floats has none.
        """
        if self.qparams is None:
            raise MalformedGraph(f"a tensor of {self.dtype} {self.shape}: expected integers on a grid")
        return self.qparams

    def quantize(self, real: np.ndarray) -> np.ndarray:
        """float32 numbers as the tensor holds them: codes, or themselves where it has no grid; indices as int32."""
        if self.of_indices:
            return real.astype(self.dtype)
        return real if self.qparams is None else self.qparams.quantize(real)

    def dequantize(self, held: np.ndarray) -> np.ndarray:
        """What the tensor's codes stand for, float32; without a grid, what it holds; indices as PyTorch's int64."""
        if self.of_indices:
            return held.astype(np.int64)
        return held if self.qparams is None else self.qparams.dequantize(held)


@dataclass(frozen=True)
class Node:
    """One op: its row's name, attributes, and the names of its tensors; inputs follow the row's roles."""

    op: str
    attrs: Attrs
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def row(self) -> Row:
        """What is known of the op."""
        return ROWS[self.op]

    @property
    def output(self) -> str:
        """The first output, the only one of most ops."""
        return self.outputs[0]

    def input_roles(self) -> dict[str, str]:
        """Tensor name by role; trailing roles may be absent."""
        return dict(zip(self.row.input_roles(len(self.inputs)), self.inputs, strict=True))

    def output_roles(self) -> dict[str, str]:
        """Tensor name by role."""
        return dict(zip(self.row.output_roles(len(self.outputs)), self.outputs, strict=True))


@dataclass(frozen=True)
class State:
    """What lives from one run to the next: to a run an input, whose successor the run computes.

    Attributes:
        value: name of what it is when a run starts; a run-time tensor that no node makes, and no input.
        after: name of what it is when the run has ended, of the same shape and type; any value, ``value`` too.
        first: what the first run starts with: codes, of the value's shape and type.
    """

    value: str
    after: str
    first: np.ndarray


@dataclass(frozen=True)
class Graph:
    """Values by name, nodes in the order of execution, the names of the inputs and outputs, and how these lie there.

    ``views`` has the inputs and outputs whose order is not PyTorch's; ``shifted`` those whose file has uint8 codes,
    which are 128 more than the int8 codes here. With ``states`` it is a pure function still, of the inputs and the
    states' values to the outputs and what the states are afterwards.
    """

    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    views: Mapping[str, View] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    shifted: frozenset[str] = frozenset()

    @property
    def sources(self) -> tuple[str, ...]:
        """All that a run starts with: the inputs, and the states' values."""
        return (*self.inputs, *(state.value for state in self.states))

    @property
    def sinks(self) -> tuple[str, ...]:
        """All that a run is for: the outputs, and what the states are afterwards."""
        return (*self.outputs, *(state.after for state in self.states))

    def view(self, name: str) -> View:
        """How PyTorch's tensor lies in an input or output."""
        return self.views.get(name, View.identity(self.values[name].shape))

    def store(self, name: str, real: np.ndarray) -> np.ndarray:
        """PyTorch's ``[samples, *shape[1:]]`` in the order of axes in which an input or output stores it; indices in
        their type, too."""
        stored = self.view(name).store(real, self.values[name].shape)
        return stored.astype(self.values[name].dtype) if self.values[name].of_indices else stored

    def encode(self, name: str, real: np.ndarray) -> np.ndarray:
        """PyTorch's float32 ``[samples, *shape[1:]]`` as an input or output holds it: stored, and as codes."""
        return self.values[name].quantize(self.store(name, real))

    def decode(self, name: str, held: np.ndarray) -> np.ndarray:
        """The opposite of :meth:`encode`: float32 in PyTorch's order of axes."""
        return self.values[name].dequantize(self.view(name).restore(held))

    def qparams(self, node: Node) -> dict[str, QParams | None]:
        """The qparams of a node's tensors by role."""
        return {role: self.values[n].qparams for role, n in (node.input_roles() | node.output_roles()).items()}

    def is_float(self, node: Node) -> bool:
        """Whether a node computes in float32; its weight may be integers all the same, and so are indices."""
        grids = [q for role, q in self.qparams(node).items() if role != "weight"]
        return None in grids and all(q in (None, INDICES) for q in grids)

    @property
    def has_float_nodes(self) -> bool:
        """Whether any node computes in float32, so that results are not promised to the bit."""
        return any(self.is_float(node) for node in self.nodes)

    def code_range(self, name: str) -> tuple[int, int]:
        """Lowest and highest code that an input may have: of indices those of the rows that there are."""
        value, same = self.values[name], {name}
        low, high = value.quantization.code_range
        if not value.of_indices:
            return low, high
        for node in self.nodes:
            if node.row.selects and self.values[node.output].of_indices and node.inputs[0] in same:
                same.add(node.output)
            elif node.op == "gather" and node.input_roles()["indices"] in same:
                high = min(high, self.values[node.input_roles()["table"]].shape[0] - 1)
        return 0, high

    def renamed(self, called: Mapping[str, str]) -> Graph:
        """The same graph with other names, all different; ``called`` has one for every value."""

        def each(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(called[name] for name in names)

        return Graph(
            {called[name]: value for name, value in self.values.items()},
            tuple(Node(node.op, node.attrs, each(node.inputs), each(node.outputs)) for node in self.nodes),
            each(self.inputs),
            each(self.outputs),
            {called[name]: view for name, view in self.views.items()},
            tuple(State(called[each.value], called[each.after], each.first) for each in self.states),
            frozenset(called[name] for name in self.shifted),
        )

    def constants(self) -> dict[str, Value]:
        """The values that have data."""
        return {name: value for name, value in self.values.items() if value.data is not None}

    def contents(self) -> dict[str, np.ndarray]:
        """The data of the constants, by name."""
        return {name: value.contents for name, value in self.constants().items()}

    def running(self) -> dict[str, Value]:
        """The values that are computed, inputs included."""
        return {name: value for name, value in self.values.items() if value.data is None}


def check(graph: Graph, *, laid_out: bool = True) -> Graph:
    """``graph`` itself, if it is well formed: known ops, each value made once and before its use, every row's
    constraints satisfied, constants of the shape and type they claim, shapes that every row's rule gives, and states
    that stay what they are.

    Args:
        graph: any.
        laid_out: whether its tensors lie as the device stores them, of which alone the rows' rules of shapes are.

    Raises:
        MalformedGraph: it is not; the message names the node or value.
    """
    known = set(graph.constants())
    ready = set(graph.sources) | known
    for state in graph.states:
        _check_state(graph, state)
    for name, value in graph.values.items():
        if value.data is not None and (value.data.shape != value.shape or value.data.dtype.name != value.array_dtype):
            raise MalformedGraph(
                f"constant {name!r}: expected {value.dtype} {value.shape}, got {value.data.dtype} {value.data.shape}"
            )
        _require_sizes(name, value)
    for index, node in enumerate(graph.nodes):
        where = f"node {index} ({node.op})"
        if node.op not in ROWS:
            raise MalformedGraph(f"{where}: expected one of {sorted(ROWS)}")
        missing = [name for name in node.inputs if name not in ready]
        if missing or any(name in ready or name not in graph.values for name in node.outputs):
            raise MalformedGraph(f"{where}: inputs {missing} are not ready, or one of {node.outputs} is made twice")
        violations = node.row.violations(graph.qparams(node)) if not graph.is_float(node) else []
        if violations:
            raise BrokenConstraint(f"{where}: {'; '.join(violations)}")
        if laid_out:
            try:
                require_shapes(graph, node, known)
            except BadShape as error:
                raise MalformedGraph(
                    f"{where} of {', '.join(node.inputs)} to {', '.join(node.outputs)}: {error}"
                ) from error
        ready |= set(node.outputs)
        known |= set(node.outputs) if known.issuperset(node.inputs) else set()
    if any(name not in ready for name in graph.outputs):
        raise MalformedGraph(f"outputs {graph.outputs}: not all are computed")
    if late := [state.after for state in graph.states if state.after not in ready]:
        raise MalformedGraph(f"what states are after a run: {late} are not computed")
    return graph


def _require_sizes(name: str, value: Value) -> None:
    """Axes that have elements, and a scale for each channel."""
    if any(size < 1 for size in value.shape):
        raise MalformedGraph(f"tensor {name!r}: expected sizes of at least 1, got shape {value.shape}")
    grid = value.qparams
    if grid is None or grid.axis is None:
        return
    if not 0 <= grid.axis < len(value.shape) or len(grid.scale) != value.shape[grid.axis]:
        raise MalformedGraph(
            f"tensor {name!r}: expected a scale for each channel of an axis, got {len(grid.scale)} scales for axis "
            f"{grid.axis} of {value.shape}"
        )


def require_shapes(graph: Graph, node: Node, known: Set[str]) -> None:
    """That a node's outputs have the shapes that its row's rule gives, and twice as many samples twice as many.

    Args:
        graph: of the node.
        node: whose inputs are ready.
        known: values that depend on no input.

    Raises:
        BadShape: they have not; or several samples along the first axis would be mixed.
    """
    row, roles = node.row, node.input_roles()
    if row.shapes is None:
        return
    shapes = {role: graph.values[name].shape for role, name in roles.items()}
    outputs = tuple(graph.values[name].shape for name in node.outputs)
    running = {role for role, name in roles.items() if name not in known}
    if any(not 1 <= len(shapes[role]) <= row.most_axes for role in running):
        raise BadShape(f"expected 1 to {row.most_axes} axes, of which the first counts samples, got {shapes}")
    given = row.shapes(node.attrs, shapes)
    if given != outputs:
        raise BadShape(f"expected outputs of {given}, got {outputs}")
    if running and () in outputs:
        raise BadShape("expected an output whose first axis counts samples, got a scalar")
    # A constant that is joined is there for each sample.
    repeated = running | {role for role, shape in shapes.items() if row.variadic and shape[0] == 1}
    twice = {role: _doubled(shape) if role in repeated else shape for role, shape in shapes.items()}
    try:
        apart = not running or row.shapes(node.attrs, twice) == tuple(map(_doubled, outputs))
    except BadShape:
        apart = False
    if not apart:
        raise BadShape(f"expected an op that keeps the samples of the first axis apart, got {shapes} to {outputs}")


def _doubled(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size * 2 if axis == 0 else size for axis, size in enumerate(shape))


def _check_state(graph: Graph, state: State) -> None:
    """Nothing, if a state's tensors are of one shape and type, and its value is made by nobody.

    Raises:
        MalformedGraph: they are not.
    """
    where = f"state {state.value!r}"
    if any(name not in graph.values for name in (state.value, state.after)):
        raise MalformedGraph(f"{where}: expected values of the graph, got {state.value!r} and {state.after!r}")
    value, after = graph.values[state.value], graph.values[state.after]
    if graph.sources.count(state.value) > 1 or value.data is not None:
        raise MalformedGraph(f"{where}: expected a run-time tensor of its own, got an input, a constant or a state")
    if (after.shape, after.dtype) != (value.shape, value.dtype):
        raise MalformedGraph(
            f"{where}: expected {value.dtype} {value.shape} after a run, got {after.dtype} {after.shape}"
        )
    if (state.first.shape, state.first.dtype.name) != (value.shape, value.array_dtype):
        raise MalformedGraph(
            f"{where}: expected {value.dtype} {value.shape} to start with, got {state.first.dtype} {state.first.shape}"
        )
