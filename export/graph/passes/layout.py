"""Channels last from input to output: transposes and reshapes are carried along as bookkeeping and written only where
no way around them exists.

A value of the naive graph is kept as a stored value and a :class:`~export.graph.ir.View` of it. A transpose changes
the view alone, as does a reshape that only inserts or removes axes of size 1. An op that works in any axis order is
emitted on the stored values, its attributes mapped; constants are permuted. A fully connected layer behind a flatten
gets its columns permuted. What the graph computes stays the same; only the order in memory differs: ``Graph.views``
says how.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Literal

import numpy as np

from export.graph.ir import Graph, Node, Value, View, check
from qtorch.row.row import any_order

__all__ = ["layout"]

#: How many ways of storing the inputs are tried.
_TRIALS = 64


def layout(graph: Graph, input_layout: Literal["nhwc", "nchw"] = "nhwc") -> Graph:
    """The same network with the fewest transposes, then the fewest reshapes.

    Args:
        graph: in PyTorch's axis order, as :func:`export.graph.lower.lower` gives it.
        input_layout: ``"nchw"`` keeps PyTorch's order at the inputs.
    """
    choices = [_input_views(graph.values[name].shape, input_layout) for name in graph.inputs]
    trials = [_Layout(graph, dict(zip(graph.inputs, c, strict=True))).run() for c in islice(product(*choices), _TRIALS)]
    return min(trials, key=_cost)


def _cost(graph: Graph) -> tuple[int, int]:
    ops = [node.op for node in graph.nodes]
    return ops.count("transpose"), ops.count("reshape")


def _input_views(shape: tuple[int, ...], input_layout: str) -> list[tuple[tuple[int, ...], View]]:
    """Ways to store an input, the preferred first: the stored shape, and the view of it."""
    as_is = (shape, View.identity(shape))
    if input_layout == "nchw":
        return [as_is]
    if len(shape) == 4:
        n, c, h, w = shape
        return [((n, h, w, c), View(shape, (0, 3, 1, 2))), as_is]
    if len(shape) == 3:
        n, c, length = shape
        return [as_is, ((n, length, c), View(shape, (0, 2, 1))), ((n, 1, length, c), View(shape, (0, 3, 2)))]
    if len(shape) == 2:
        return [as_is, ((shape[0], 1, 1, shape[1]), View(shape, (0, 3)))]
    return [as_is]


@dataclass(frozen=True)
class _Stored:
    """Where a value of the naive graph lies: ``flat`` if it is the flattening of the view."""

    name: str
    view: View
    flat: bool = False


#: For each axis of an arrangement, the value's axis that lies there, or ``None`` for one of size 1.
_Order = tuple[int | None, ...]


class _Layout:
    def __init__(self, graph: Graph, inputs: dict[str, tuple[tuple[int, ...], View]]) -> None:
        self.naive = graph
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.where: dict[str, _Stored] = {}
        self.copies: dict[tuple[str, tuple[int, ...], tuple[int, ...]], str] = {}
        for name, value in graph.values.items():
            if name in inputs:
                self.values[name] = replace(value, shape=inputs[name][0])
                self.where[name] = _Stored(name, inputs[name][1])

    def run(self) -> Graph:
        for node in self.naive.nodes:
            if node.op == "transpose":
                self._turn(node)
            elif node.op == "reshape":
                self._reshape(node)
            elif node.op == "fully_connected" and not node.attrs["keep_num_dims"]:
                self._fully_connected(node)
            else:
                self._op(node)
        outputs = tuple(self._output(name) for name in self.naive.outputs)
        views = {name: self.where[name].view for name in self.naive.inputs}
        views |= {stored: self.where[name].view for stored, name in zip(outputs, self.naive.outputs, strict=True)}
        views = {name: view for name, view in views.items() if view != View.identity(self.values[name].shape)}
        return check(_without_unused(Graph(self.values, tuple(self.nodes), self.naive.inputs, outputs, views)))

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.naive.values[name].shape

    def _turn(self, node: Node) -> None:
        source = self._unflattened(node.inputs[0])
        axes = tuple(source.view.axes[axis] for axis in node.attrs["perm"])
        self.where[node.output] = _Stored(source.name, View(self._shape(node.output), axes))

    def _reshape(self, node: Node) -> None:
        old, new = self._shape(node.inputs[0]), self._shape(node.output)
        if _without_units(old) == _without_units(new):
            source = self._unflattened(node.inputs[0])
            named = iter(axis for axis, n in zip(source.view.axes[1:], old[1:], strict=True) if n > 1)
            axes = (0, *(next(named) if n > 1 else None for n in new[1:]))
            self.where[node.output] = _Stored(source.name, View(new, axes))
            return
        source = self.where[node.inputs[0]]
        if len(new) == 2 and not source.flat:
            self.where[node.output] = replace(source, flat=True)
            return
        plain = self._arranged(node.inputs[0], tuple(range(len(old))))
        self._emit_reshape(plain, node.output, new)
        self.where[node.output] = _Stored(node.output, View.identity(new))

    def _unflattened(self, name: str) -> _Stored:
        """Where a value lies by its own axes: a flattening that nobody could absorb is written out."""
        stored = self.where[name]
        if stored.flat:
            plain = self._arranged_view(stored.name, stored.view, tuple(range(len(stored.view.shape))))
            # An elementwise op may already have taken the name for what it computed before the flattening.
            flat = f"{name}.flat" if name in self.values else name
            self._emit_reshape(plain, flat, self._shape(name))
            stored = self.where[name] = _Stored(flat, View.identity(self._shape(name)))
        return stored

    def _fully_connected(self, node: Node) -> None:
        """Reads its input in whatever order it lies, and any rank: the columns of the weight follow."""
        source, weight = self.where[node.inputs[0]], self.naive.values[node.inputs[1]]
        inner = source.view.shape[1:] if source.flat else self._shape(node.inputs[0])[1:]
        axes = [(-1 if axis is None else axis, i) for i, axis in enumerate(source.view.axes[1:])]
        columns = weight.contents.reshape(-1, *inner).transpose([0, *(i + 1 for _, i in sorted(axes))])
        data = np.ascontiguousarray(columns.reshape(weight.shape))
        self.values[node.inputs[1]] = replace(weight, data=data)
        for name in node.inputs[2:]:
            self.values[name] = self.naive.values[name]
        self._emit(replace(node, inputs=(source.name, *node.inputs[1:])))

    def _op(self, node: Node) -> None:
        runtime = [name for name in node.inputs if self.naive.values[name].data is None]
        flat = [self.where[name] for name in runtime if self.where[name].flat]
        if flat and len(runtime) == len(node.inputs) == 1 and node.row.transposed is any_order:
            self._on_flattened(node, flat[0])
            return
        stored = [self._unflattened(name) for name in runtime]
        rank = len(self._shape(runtime[0]))
        orders = [_order(s.view, len(self.values[s.name].shape)) for s in stored if None not in s.view.axes]
        best = min(
            (self._price(node, runtime, order), i, order)
            for i, order in enumerate([*orders, tuple(range(rank))])
            if self._attrs(node, order, rank) is not None
        )[2]
        attrs = self._attrs(node, best, rank)
        assert attrs is not None
        inputs = []
        for name in node.inputs:
            value = self.naive.values[name]
            if value.data is None:
                inputs.append(self._arranged(name, best))
            else:
                inputs.append(name)
                in_order = (
                    value.data if node.row.channels_last or len(value.shape) != rank else _turned(value.data, best)
                )
                self.values[name] = replace(value, shape=in_order.shape, data=in_order)
        for name in node.outputs:
            value = self.naive.values[name]
            shape = tuple(1 if axis is None else value.shape[axis] for axis in best)
            self.values[name] = replace(value, shape=shape if len(value.shape) == rank else value.shape)
            axes = tuple(best.index(axis) for axis in range(len(value.shape))) if len(value.shape) == rank else None
            view = View.identity(value.shape) if axes is None else View(value.shape, axes)
            self.where[name] = _Stored(name, view)
        self.nodes.append(Node(node.op, attrs, tuple(inputs), node.outputs))

    def _on_flattened(self, node: Node, source: _Stored) -> None:
        """An elementwise op behind a flatten works on what was flattened."""
        shape = self.values[source.name].shape
        self.values[node.output] = replace(self.naive.values[node.output], shape=shape)
        self.nodes.append(replace(node, inputs=(source.name,)))
        self.where[node.output] = replace(source, name=node.output)

    def _attrs(self, node: Node, order: _Order, rank: int) -> dict[str, object] | None:
        """The op's attributes in an arrangement, ``None`` if it has no such form."""
        if order == tuple(range(rank)):
            return dict(node.attrs)
        mapped = node.row.transposed(node.attrs, tuple(order.index(axis) for axis in range(rank)), len(order))
        return None if mapped is None else dict(mapped)

    def _price(self, node: Node, runtime: list[str], order: _Order) -> tuple[int, int]:
        """Transposes and reshapes that an arrangement of an op's inputs costs."""
        needs = [_need(self.where[name].view, self.values[self.where[name].name].shape, order) for name in runtime]
        return needs.count("transpose"), needs.count("reshape")

    def _arranged(self, name: str, order: _Order) -> str:
        stored = self._unflattened(name)
        return self._arranged_view(stored.name, stored.view, order)

    def _arranged_view(self, name: str, view: View, order: _Order) -> str:
        """The stored value whose axes are the view's in ``order``; made if there is none."""
        shape = tuple(1 if axis is None else view.shape[axis] for axis in order)
        need = _need(view, self.values[name].shape, order)
        if need is None:
            return name
        perm = _permutation(view, self.values[name].shape, order)
        key = (name, perm, shape)
        if key not in self.copies:
            turned = name
            if need == "transpose":
                turned = f"{name}.turned{len(self.copies)}"
                value = self.values[name]
                self.values[turned] = Value(tuple(value.shape[axis] for axis in perm), value.qparams)
                self.nodes.append(Node("transpose", {"perm": perm}, (name,), (turned,)))
            if self.values[turned].shape != shape:
                self._emit_reshape(turned, f"{name}.reshaped{len(self.copies)}", shape)
                turned = f"{name}.reshaped{len(self.copies)}"
            self.copies[key] = turned
        return self.copies[key]

    def _emit_reshape(self, source: str, name: str, shape: tuple[int, ...]) -> None:
        # A reshape of a reshape is one of what that one had.
        source = next((n.inputs[0] for n in self.nodes if n.op == "reshape" and n.output == source), source)
        self.values[name] = Value(shape, self.values[source].qparams)
        self.nodes.append(Node("reshape", {"shape": shape}, (source,), (name,)))

    def _emit(self, node: Node) -> None:
        """An op whose output lies as PyTorch has it."""
        self.values[node.output] = self.naive.values[node.output]
        self.nodes.append(node)
        self.where[node.output] = _Stored(node.output, View.identity(self._shape(node.output)))

    def _output(self, name: str) -> str:
        """An output of the graph: computed by some op, and by none that gives another output."""
        stored = self._unflattened(name)
        taken = [*self.naive.inputs, *(self.where[n].name for n in self.naive.outputs if n != name)]
        if stored.name in taken:
            copy = f"{name}.output"
            self._emit_reshape(stored.name, copy, self.values[stored.name].shape)
            self.where[name] = replace(stored, name=copy)
        return self.where[name].name


def _without_unused(graph: Graph) -> Graph:
    """The graph without ops and values that no output needs."""
    needed, nodes = set(graph.outputs), list[Node]()
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            needed |= {*node.inputs, *node.outputs}
            nodes.append(node)
    values = {name: value for name, value in graph.values.items() if name in needed or name in graph.inputs}
    return replace(graph, values=values, nodes=tuple(reversed(nodes)))


def _without_units(shape: Iterable[int]) -> list[int]:
    return [n for n in list(shape)[1:] if n > 1]


def _order(view: View, rank: int) -> _Order:
    """Which of the value's axes lies at each of the stored axes."""
    return tuple(view.axes.index(axis) if axis in view.axes else None for axis in range(rank))


def _stored_axes(view: View, stored: tuple[int, ...], order: _Order) -> list[int]:
    """The stored axes of more than one element (and the batch's) in the order in which an arrangement has them."""
    axes = [view.axes[axis] for axis in order if axis is not None]
    return [axis for axis in axes if axis is not None and (axis == 0 or stored[axis] > 1)]


def _need(view: View, stored: tuple[int, ...], order: _Order) -> str | None:
    """What it takes to bring a stored value into an arrangement: nothing, a reshape or a transpose."""
    axes = _stored_axes(view, stored, order)
    if axes != sorted(axes):
        return "transpose"
    shape = tuple(1 if axis is None else view.shape[axis] for axis in order)
    return None if shape == stored else "reshape"


def _permutation(view: View, stored: tuple[int, ...], order: _Order) -> tuple[int, ...]:
    """All stored axes, those of one element where the arrangement has them or at the end."""
    named = [view.axes[axis] for axis in order if axis is not None]
    kept = [axis for axis in named if axis is not None]
    return (*kept, *(axis for axis in range(len(stored)) if axis not in kept))


def _turned(data: np.ndarray, order: _Order) -> np.ndarray:
    """A constant of the op's rank, arranged like its other inputs."""
    turned = data.transpose([axis for axis in order if axis is not None])
    return np.ascontiguousarray(turned.reshape([1 if axis is None else data.shape[axis] for axis in order]))
