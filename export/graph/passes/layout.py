"""Channels last from input to output: transposes and reshapes are carried along as bookkeeping and written only where
no way around them exists.

A value of the naive graph is kept as a stored value and a :class:`~export.graph.memory_order.MemoryOrder` of it. A
transpose changes the order alone, as does a reshape: one that only inserts or removes axes of size 1, a flatten, and,
where these leave transposes to be written, any other. An op that works in any axis order is emitted on the stored
values, its attributes mapped; constants are permuted. A fully connected layer gets its columns permuted. What the graph
computes stays the same; only the order in memory differs: ``Graph.views`` says how.

Each op takes the order that costs least where it stands, and the whole is the best of a few ways to count that. The
same network gives the same graph.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from typing import Literal

import numpy as np

from export.graph.input_views import input_views
from export.graph.ir import Graph, Node, Value, View, check
from export.graph.memory_order import MemoryOrder, blocks_to_move, parts_to_move, steps
from qtorch.row.constraints import Indices
from qtorch.row.row import any_order

__all__ = ["layout"]

#: How many ways of storing the inputs are tried.
_TRIALS = 64

#: TFLM's TRANSPOSE takes no more; one of more axes is written as several.
_MOST_AXES = 5


@dataclass(frozen=True)
class _Way:
    """How orders are chosen: whether every reshape that some order can say is carried along, or only the plainest; and
    whether ops count the elements that they have moved, or the transposes. What is cut in several pieces is in
    PyTorch's order if ``whole`` names it, so that it is moved once and not piece by piece."""

    carries_all: bool
    counts_elements: bool
    whole: frozenset[str] = frozenset()


#: The first alone, where it leaves no transposes; otherwise the best of all.
_WAYS = (_Way(False, False), _Way(True, False), _Way(True, True))


def layout(graph: Graph, input_layout: Literal["nhwc", "nchw"] = "nhwc") -> Graph:
    """The same network with the fewest elements that transposes move, then the fewest reshapes.

    Args:
        graph: in PyTorch's axis order, as :func:`export.graph.lower.lower` gives it.
        input_layout: ``"nchw"`` keeps PyTorch's order at the inputs.
    """
    choices = [input_views(graph.values[name], input_layout) for name in graph.inputs]
    stored = [dict(zip(graph.inputs, c, strict=True)) for c in islice(product(*choices), _TRIALS)]
    trials = [(_Layout(graph, each, _WAYS[0]).run(), each, _WAYS[0]) for each in stored]
    if all(_cost(trial)[0] for trial, *_ in trials):
        trials += [(_Layout(graph, each, way).run(), each, way) for way in _WAYS[1:] for each in stored]
    best, inputs, way = min(trials, key=lambda trial: _cost(trial[0]))
    pieces = _cut_in_pieces(graph) if _cost(best)[0] else []
    for names in [pieces, *([name] for name in pieces[:_TRIALS] if len(pieces) > 1)]:
        other = replace(way, whole=way.whole | {*names})
        trial = best if other == way else _Layout(graph, inputs, other).run()
        if _cost(trial) < _cost(best):
            best, way = trial, other
    return best


def _cut_in_pieces(graph: Graph) -> list[str]:
    """Values that are split, or of which several slices are taken."""
    cut = [
        node.inputs[0] for node in graph.nodes for _ in node.outputs if node.op in ("slice", "strided_slice", "split")
    ]
    return [name for name, count in Counter(cut).items() if count > 1]


def _cost(graph: Graph) -> tuple[int, int, int]:
    ops = [node.op for node in graph.nodes]
    moved = sum(graph.values[node.output].elements for node in graph.nodes if node.op == "transpose")
    return moved, ops.count("transpose"), ops.count("reshape")


@dataclass(frozen=True)
class _Stored:
    """Where a value of the naive graph lies."""

    name: str
    order: MemoryOrder


class _Layout:
    def __init__(self, graph: Graph, inputs: dict[str, tuple[tuple[int, ...], View]], way: _Way) -> None:
        self.naive, self.way = graph, way
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.where: dict[str, _Stored] = {}
        self.turned: dict[tuple[str, MemoryOrder], str] = {}
        self.copies: dict[tuple[str, tuple[int, ...]], str] = {}
        self.reshaped: dict[str, str] = {}
        for name, value in graph.values.items():
            if name in inputs:
                shape, view = inputs[name]
                self.values[name] = replace(value, shape=shape)
                axes = tuple(() if axis is None else (axis,) for axis in view.axes)
                self.where[name] = _Stored(name, MemoryOrder(shape, axes))

    def run(self) -> Graph:
        for node in self.naive.nodes:
            if node.op == "transpose":
                source = self._source(node.inputs[0])
                self.where[node.output] = replace(source, order=source.order.transposed(node.attrs["perm"]))
            elif node.op == "reshape":
                self._reshape(node)
            elif node.op == "fully_connected":
                self._fully_connected(node)
            elif node.op == "batch_matmul":
                self._batch_matmul(node)
            elif isinstance(node.row.constraints["output"], Indices):
                self._places(node)
            elif self._in_any_order(node):
                self._on_stored(node)
            else:
                self._op(node, [self._source(name) for name in self._runtime(node)])
        outputs = tuple(self._output(name) for name in self.naive.outputs)
        views = {name: _view(self.where[name].order) for name in self.naive.inputs}
        views |= {
            stored: _view(self.where[name].order) for stored, name in zip(outputs, self.naive.outputs, strict=True)
        }
        views = {name: view for name, view in views.items() if view != View.identity(self.values[name].shape)}
        return check(_without_unused(Graph(self.values, tuple(self.nodes), self.naive.inputs, outputs, views)))

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.naive.values[name].shape

    def _runtime(self, node: Node) -> list[str]:
        return [name for name in node.inputs if self.naive.values[name].data is None]

    def _reshape(self, node: Node) -> None:
        old, new = self._shape(node.inputs[0]), self._shape(node.output)
        source = self._source(node.inputs[0]) if _long(old) == _long(new) else self.where[node.inputs[0]]
        if self.way.carries_all or _long(old) == _long(new) or (len(new) == 2 and source.order.is_permutation):
            order = source.order.reshaped(new)
            if order is not None:
                self.where[node.output] = replace(source, order=order)
                return
        plain = self._arranged(self._source(node.inputs[0]), MemoryOrder.identity(old))
        self._emit_reshape(plain, node.output, new)
        self.where[node.output] = _Stored(node.output, MemoryOrder.identity(new))

    def _source(self, name: str) -> _Stored:
        """Where a value lies; unless all reshapes are carried, a flattening that nobody could absorb is written out."""
        stored = self.where[name]
        if not self.way.carries_all and not stored.order.is_permutation:
            # An elementwise op may already have taken the name for what it computed before the flattening.
            flat, shape = f"{name}.flat" if name in self.values else name, self._shape(name)
            self._emit_reshape(self._moved(stored, MemoryOrder.identity(shape)), flat, shape)
            stored = self.where[name] = _Stored(flat, MemoryOrder.identity(shape))
        return stored

    def _fully_connected(self, node: Node) -> None:
        """Reads its features in whatever order they lie, the columns of the weight follow; without kept dimensions all
        axes are features, of any rank."""
        every = not node.attrs["keep_num_dims"]
        source = self.where[node.inputs[0]] if every else self._source(node.inputs[0])
        axes, weight = source.order.axes, self.naive.values[node.inputs[1]]
        parts = list(chain(*axes[1:])) if every else list(axes[-1])
        columns = weight.contents.reshape(-1, *(source.order.sizes[part] for part in parts))
        data = columns.transpose(0, *(1 + np.argsort(parts))).reshape(weight.shape)
        if every:
            self.values[node.inputs[1]] = replace(weight, data=np.ascontiguousarray(data))
            for name in node.inputs[2:]:
                self.values[name] = self.naive.values[name]
            self._emit(replace(node, inputs=(source.name, *node.inputs[1:])))
        else:
            in_order = replace(source.order, axes=(*axes[:-1], tuple(sorted(parts))))
            self._op(node, [replace(source, order=in_order)])
            self.values[node.inputs[1]] = replace(weight, data=np.ascontiguousarray(data))

    def _batch_matmul(self, node: Node) -> None:
        """Reads a matrix that lies turned as it lies. What has to be moved is moved to where the kernel reads along
        rows; it would turn the second matrix by itself otherwise, at each inference, and so it does the first."""
        inputs, attrs = list[str](), dict(node.attrs)
        for name, adjoint, along_rows in zip(node.inputs, ("adj_x", "adj_y"), (False, True), strict=True):
            value = self.naive.values[name]
            last = len(value.shape) - 1
            axes = {turned: (*range(last - 1), last - 1 + turned, last - turned) for turned in (False, True)}
            ways = {turned: MemoryOrder.permuted(value.shape, order) for turned, order in axes.items()}
            if value.data is not None:
                turned = bool(attrs[adjoint]) != along_rows
                inputs.append(name)
                data = ways[turned].in_memory_order(value.data)
                self.values[name] = replace(value, shape=data.shape, data=data)
            else:
                stored = self._source(name)
                turned = min(
                    ways, key=lambda way: (self._price([stored], ways[way]), (way != attrs[adjoint]) != along_rows)
                )
                inputs.append(self._arranged(stored, ways[turned]))
            attrs[adjoint] = attrs[adjoint] != turned
        self._emit(replace(node, attrs=attrs, inputs=tuple(inputs)))

    def _places(self, node: Node) -> None:
        """Looks along an axis wherever that lies, and leaves the others as they lie."""
        source, plain = self._source(node.inputs[0]), MemoryOrder.identity(self._shape(node.inputs[0]))
        if sorted(chain(*source.order.axes)) != list(range(len(plain.axes))) or not all(source.order.axes):
            source = _Stored(self._arranged(source, plain), plain)
        axis, result = source.order.axes[node.attrs["axis"]][0], source.order.without(node.attrs["axis"])
        self.values[node.output] = replace(self.naive.values[node.output], shape=result.sizes)
        self.nodes.append(replace(node, attrs={**node.attrs, "axis": axis}, inputs=(source.name,)))
        self.where[node.output] = _Stored(node.output, result)

    def _in_any_order(self, node: Node) -> bool:
        """An elementwise op of one tensor works on what is stored, whatever that is the reshape of."""
        alone = node.row.transposed is any_order and len(node.inputs) == len(node.outputs) == 1
        return alone and (self.way.carries_all or not self.where[node.inputs[0]].order.is_permutation)

    def _on_stored(self, node: Node) -> None:
        source = self.where[node.inputs[0]]
        self.values[node.output] = replace(self.naive.values[node.output], shape=self.values[source.name].shape)
        self.nodes.append(replace(node, inputs=(source.name,)))
        self.where[node.output] = replace(source, name=node.output)

    def _op(self, node: Node, stored: list[_Stored]) -> None:
        runtime = self._runtime(node)
        rank, orders = len(self._shape(runtime[0])), self._orders(node, [each.order for each in stored])
        _, _, order, attrs = min(
            (self._price(stored, order), i, order, attrs)
            for i, order in enumerate(orders)
            if (attrs := _attrs(node, order)) is not None
        )
        lies, inputs = iter(stored), []
        for name in node.inputs:
            value = self.naive.values[name]
            if value.data is None:
                inputs.append(self._arranged(next(lies), order))
            else:
                inputs.append(name)
                in_order = value.data
                if not node.row.channels_last and len(value.shape) == rank:
                    in_order = order.in_memory_order(value.data)
                self.values[name] = replace(value, shape=in_order.shape, data=in_order)
        for name in node.outputs:
            value = self.naive.values[name]
            result = order.of(value.shape) if len(value.shape) == rank else MemoryOrder.identity(value.shape)
            self.values[name] = replace(value, shape=result.sizes)
            self.where[name] = _Stored(name, result)
        self.nodes.append(Node(node.op, attrs, tuple(inputs), node.outputs))

    def _orders(self, node: Node, inputs: list[MemoryOrder]) -> list[MemoryOrder]:
        """Orders in which an op may work, the preferred first: as its inputs lie, and as PyTorch has them."""
        if node.inputs[0] in self.way.whole:
            return [MemoryOrder.identity(self._shape(node.inputs[0]))]
        orders = [order for order in inputs if order.is_permutation and all(order.axes)]
        # What is stored may have places of size 1 between its axes, and be of more than the op has.
        orders = [
            order
            if len(order.sizes) <= node.row.most_axes
            else MemoryOrder.permuted(order.shape, order.order_of_axes())
            for order in orders
        ]
        if self.way.carries_all:
            orders += [MemoryOrder.permuted(order.shape, order.order_of_axes()) for order in inputs]
            if node.row.transposed is any_order:
                for order in inputs:
                    fits = order.shape == self._shape(node.output) and len(order.sizes) <= node.row.most_axes
                    if fits and all(each.cut_as(order) is not None for each in inputs):
                        orders.append(order)
        return [*orders, MemoryOrder.identity(self._shape(self._runtime(node)[0]))]

    def _price(self, stored: list[_Stored], order: MemoryOrder) -> tuple[int, int, int]:
        """Elements to be moved, transposes and reshapes that an order of an op's inputs costs, as far as they count."""
        transposes = moved = reshapes = 0
        for each in stored:
            blocks = blocks_to_move(each.order, order)
            if blocks is None:
                reshapes += self.values[each.name].shape != order.of(each.order.shape).sizes
            elif not self.way.counts_elements:
                transposes += 1
            elif (each.name, blocks) not in self.turned:
                transposes, moved = transposes + 1, moved + math.prod(blocks.sizes)
        return moved, transposes, reshapes

    def _arranged(self, stored: _Stored, order: MemoryOrder) -> str:
        """The stored value whose axes are the parts of ``order``; made if there is none."""
        moved, shape = self._moved(stored, order), order.of(stored.order.shape).sizes
        if self.values[moved].shape == shape:
            return moved
        if (moved, shape) not in self.copies:
            copy = f"{stored.name}.reshaped{len(self.copies)}"
            self._emit_reshape(moved, copy, shape)
            self.copies[moved, shape] = copy
        return self.copies[moved, shape]

    def _moved(self, stored: _Stored, order: MemoryOrder) -> str:
        """A stored value, of any shape, whose elements lie one after the other as ``order`` has them."""
        blocks = blocks_to_move(stored.order, order)
        if blocks is None:
            return stored.name
        if (stored.name, blocks) not in self.turned:
            turned = f"{stored.name}.turned{len(self.turned)}"
            self.turned[stored.name, blocks] = turned
            sizes, perm = self.values[stored.name].shape, parts_to_move(stored.order, order)
            if stored.order.sizes == sizes and perm is not None and len(perm) <= _MOST_AXES:
                self._emit_transpose(stored.name, turned, perm)
            else:
                source, moves = stored.name, steps(blocks, _MOST_AXES)
                for i, (sizes, perm) in enumerate(moves):
                    if self.values[source].shape != sizes:
                        self._emit_reshape(source, f"{turned}.cut{i}", sizes)
                        source = f"{turned}.cut{i}"
                    step = turned if i == len(moves) - 1 else f"{turned}.step{i}"
                    self._emit_transpose(source, step, perm)
                    source = step
        return self.turned[stored.name, blocks]

    def _emit_transpose(self, source: str, name: str, perm: tuple[int, ...]) -> None:
        value = self.values[source]
        self.values[name] = Value(tuple(value.shape[axis] for axis in perm), value.qparams)
        self.nodes.append(Node("transpose", {"perm": perm}, (source,), (name,)))

    def _emit_reshape(self, source: str, name: str, shape: tuple[int, ...]) -> None:
        # A reshape of a reshape is one of what that one had.
        source = self.reshaped[name] = self.reshaped.get(source, source)
        self.values[name] = Value(shape, self.values[source].qparams)
        self.nodes.append(Node("reshape", {"shape": shape}, (source,), (name,)))

    def _emit(self, node: Node) -> None:
        """An op whose output lies as PyTorch has it."""
        self.values[node.output] = self.naive.values[node.output]
        self.nodes.append(node)
        self.where[node.output] = _Stored(node.output, MemoryOrder.identity(self._shape(node.output)))

    def _output(self, name: str) -> str:
        """An output of the graph: its axes those of the network, computed by some op, and by none that gives another
        output."""
        stored = self._source(name)
        if not stored.order.is_permutation or stored.order.sizes != self.values[stored.name].shape:
            shape = self._shape(name)
            order = MemoryOrder.permuted(shape, stored.order.order_of_axes())
            if blocks_to_move(stored.order, order) is not None:
                order = MemoryOrder.identity(shape)
            stored = self.where[name] = _Stored(self._arranged(stored, order), order)
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


def _long(shape: Iterable[int]) -> list[int]:
    return [n for n in list(shape)[1:] if n > 1]


def _view(order: MemoryOrder) -> View:
    return View(order.shape, tuple(parts[0] if parts else None for parts in order.axes))


def _attrs(node: Node, order: MemoryOrder) -> dict[str, object] | None:
    """The op's attributes in an order, ``None`` if it has no such form."""
    if node.row.transposed is any_order or order == MemoryOrder.identity(order.sizes):
        return dict(node.attrs)
    if not order.is_permutation or not all(order.axes):
        return None
    mapped = node.row.transposed(node.attrs, tuple(parts[0] for parts in order.axes), len(order.sizes))
    return None if mapped is None else dict(mapped)
