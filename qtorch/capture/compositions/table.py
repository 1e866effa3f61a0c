"""How decompositions of ATen operators are written and found: a table by the operator's name, and what they may ask.

A decomposition is a function of :class:`torch.fx.Proxy` that calls ATen overloads: each call becomes a node. Its
parameters have the names of the operator's schema (``input`` for ``self``), or stand as those of the function that it
is registered for; what it doesn't know has to be at its default. It returns what stands for the result, a tuple of that
for several results (None for one that nobody may read), or None where it has no form for the call, which then stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.emitting import OF_THE_VALUE, emit_buffer, value_of_call
from qtorch.capture.nodes import operator_name
from qtorch.families.arithmetic import squared_difference as _squared_difference
from qtorch.families.long_short_term_memory import sequence_lstm

__all__ = [
    "DECOMPOSITIONS",
    "MOST_AXES",
    "MOST_SLICED_AXES",
    "Writer",
    "axis_of",
    "broadcast_shape",
    "concatenated",
    "constant",
    "decomposes",
    "is_constant",
    "is_one",
    "kept_apart",
    "permuted",
    "reshaped",
    "result_shape",
    "same_shape",
    "shape_of",
    "sliced",
    "squared_difference",
    "writer_of",
]

aten = torch.ops.aten

#: By the operator's name without its overload; by the function itself, of one that is kept whole for a row.
DECOMPOSITIONS: dict[str | Callable[..., Any], tuple[Callable[..., Any], ...]] = {}

#: Elementwise calls whose result has the type of their operands.
_ELEMENTWISE = frozenset({
    "abs", "add", "clamp_min", "maximum", "minimum", "mul", "neg", "reciprocal", "rsqrt", "sigmoid", "sqrt", "sub",
})  # fmt: skip

#: The most tensors that a concatenation takes on the device.
_MOST_CONCATENATED = 10


#: The most axes that elementwise arithmetic and reductions have on the device.
MOST_AXES = 5

#: The most axes of what a slice with steps is taken of on the device; a box of one axis more is as good.
MOST_SLICED_AXES = 4


class Writer(fx.proxy.GraphAppendingTracer):
    """Writes the calls of a decomposition into a graph, each with its value, where the call stands that it replaces.

    ``activations`` are the types that codes will have, of which some ops have no kernel.
    """

    def __init__(self, origin: fx.Node, constants: set[fx.Node], activations: frozenset[str] = frozenset()) -> None:
        super().__init__(origin.graph)
        self.origin, self.constants, self.activations = origin, constants, activations
        self.written: list[fx.Node] = []

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> fx.Node:
        operator = isinstance(target, torch._ops.OpOverload)
        node = super().create_node(
            kind, target, args, kwargs, target._schema.name.removeprefix("aten::") if operator else name, type_expr
        )
        node.meta = {name: value for name, value in self.origin.meta.items() if name not in OF_THE_VALUE}
        node.meta.setdefault("composed", operator_name(self.origin) or getattr(self.origin.target, "__name__", ""))
        node.meta["val"] = self._computed(node)
        self.written.append(node)
        if all(source in self.constants for source in node.all_input_nodes):
            self.constants.add(node)
        return node

    def _computed(self, node: fx.Node) -> Any:
        if node.op == "call_module":
            # Dropout, which is captured as a module.
            return node.all_input_nodes[0].meta["val"]
        if node.target is sequence_lstm:
            # Whose steps, one by one, take seconds without data.
            x, weight = (node.all_input_nodes[at].meta["val"] for at in (0, 5))
            return x.new_empty((*x.shape[:-1], weight.shape[1]))
        known = _operand_like_the_result(node)
        if known is not None:
            return known
        return value_of_call(node, self.origin)


def _operand_like_the_result(node: fx.Node) -> Tensor | None:
    """The value of an operand that an elementwise result is like: to run an operator for that takes milliseconds."""
    if operator_name(node) not in _ELEMENTWISE and node.target is not _squared_difference:
        return None
    values = [source.meta["val"] for source in node.all_input_nodes]
    if not all(isinstance(value, Tensor) and value.is_floating_point() for value in values):
        return None
    shape = broadcast_shape([value.shape for value in values])
    if any(value.dtype != values[0].dtype for value in values):
        return None
    return next((value for value in values if same_shape(value.shape, shape)), None)


def broadcast_shape(shapes: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The shape that shapes have together, of which it is known that they have one."""
    rank = max(map(len, shapes))
    filled = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((size for size in sizes if not is_one(size)), 1) for sizes in zip(*filled, strict=True))


def is_one(size: Any) -> bool:
    """Whether an axis has size 1 for every batch."""
    return isinstance(size, int) and size == 1


def decomposes(*names: str | Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function decomposes the operators of these names, and calls of these functions."""

    def register(decomposition: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            DECOMPOSITIONS[name] = (*DECOMPOSITIONS.get(name, ()), decomposition)
        return decomposition

    return register


def shape_of(x: fx.Proxy) -> tuple[Any, ...]:
    """Sizes of a tensor's axes: integers, the batch's a ``SymInt``."""
    value: Tensor = x.node.meta["val"]
    return tuple(map(_known, value.shape))


def _known(size: Any) -> Any:
    """A size as a number where it is one for every batch, in whatever form it was computed."""
    number = size.node.maybe_as_int() if isinstance(size, torch.SymInt) else size
    return size if number is None else number


def same_shape(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether shapes are the same for every batch: to compare a ``SymInt`` with a number would settle what it is."""
    return list(map(str, one)) == list(map(str, other))


def result_shape(x: fx.Proxy) -> tuple[Any, ...]:
    """Sizes of the axes of the (first) result of the call that is decomposed, of which ``x`` is an argument."""
    value: Any = writer_of(x).origin.meta["val"]
    return tuple(map(_known, (value[0] if isinstance(value, tuple | list) else value).shape))


def is_constant(x: fx.Proxy) -> bool:
    """Whether a tensor depends on nothing that is handed in."""
    return x.node in writer_of(x).constants


def writer_of(x: fx.Proxy) -> Writer:
    """What writes the calls that a decomposition makes, of an argument of it."""
    assert isinstance(x.tracer, Writer)
    return x.tracer


def constant(x: fx.Proxy, value: Tensor) -> Any:
    """A tensor that is computed here, as a buffer of the network whose call is decomposed; ``x`` is an argument of it.

    What has no form has to be known by then: the buffer stays.
    """
    writer = writer_of(x)
    node = emit_buffer(writer.graph, f"{writer.origin.name}_constant", value, like=writer.origin)
    writer.written.append(node)
    writer.constants.add(node)
    return fx.Proxy(node, writer)


def axis_of(x: fx.Proxy, dim: int, more: int = 0) -> int:
    """``dim`` counted from the front, of a tensor that gets ``more`` axes."""
    return dim % max(len(shape_of(x)) + more, 1)


def kept_apart(x: fx.Proxy, dim: int | Sequence[int] | None) -> list[int] | None:
    """Ascending axes along which is reduced; None where samples are among what is reduced: all axes, or the batch's."""
    dims = [dim] if isinstance(dim, int) else list(dim or ())
    axes = sorted({axis_of(x, d) for d in dims})
    known = all(isinstance(shape_of(x)[axis], int) for axis in axes)
    return axes if axes and known and shape_of(x) else None


def reshaped(x: fx.Proxy, shape: Iterable[Any]) -> Any:
    """``x`` in another shape, of which one size at most may be the batch's; ``x`` itself where it has that shape."""
    sizes = list(shape)
    if same_shape(sizes, shape_of(x)):
        return x
    return aten.reshape.default(x, [size if isinstance(size, int) else -1 for size in sizes])


def permuted(x: fx.Proxy, axes: Sequence[int]) -> Any:
    """``x`` with its axes in another order; ``x`` itself where it is theirs."""
    return x if list(axes) == list(range(len(axes))) else aten.permute.default(x, list(axes))


def sliced(x: fx.Proxy, dim: int, start: int, end: int) -> Any:
    """``x`` from ``start`` to ``end`` along an axis; ``x`` itself where that is all of it."""
    if same_shape((start, end), (0, shape_of(x)[dim])):
        return x
    shape = shape_of(x)
    if len(shape) > MOST_AXES and dim and all(isinstance(size, int) for size in shape[1:]):
        box = reshaped(x, (shape[0], math.prod(shape[1:dim]), shape[dim], math.prod(shape[dim + 1 :])))
        return reshaped(aten.slice.Tensor(box, 2, start, end), (*shape[:dim], end - start, *shape[dim + 1 :]))
    if len(shape_of(x)) > MOST_SLICED_AXES:
        return aten.narrow.default(x, dim, start, end - start)
    return aten.slice.Tensor(x, dim, start, end)


def concatenated(parts: Sequence[Any], dim: int) -> Any:
    """Tensors one behind the other, in several steps where there are many; steps that are alike are made once."""
    while len(parts) > _MOST_CONCATENATED:
        groups = math.ceil(len(parts) / _MOST_CONCATENATED)
        size = math.ceil(len(parts) / groups)
        made: dict[tuple[int, ...], Any] = {}
        steps = [parts[i : i + size] for i in range(0, len(parts), size)]
        keys = [tuple(map(id, step)) for step in steps]
        for key, step in zip(keys, steps, strict=True):
            made[key] = made[key] if key in made else concatenated(step, dim)
        parts = [made[key] for key in keys]
    return aten.cat.default(list(parts), dim) if len(parts) > 1 else parts[0]


def squared_difference(x: fx.Proxy, y: fx.Proxy) -> Any:
    """``(x - y) ** 2``, a call of the function that a row stands for: no ATen operator is that op."""
    return x.tracer.create_proxy("call_function", _squared_difference, (x, y), {})
