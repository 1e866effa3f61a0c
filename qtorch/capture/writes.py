"""Calls that write into tensors, rewritten into calls that give values; views of what was written are taken anew.

A tensor that others are views of is a *base*. A write into one of them gives a new value of the base, from which every
view that is read afterwards is computed again: what PyTorch's memory would show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import fx, nn

from qtorch.capture.emitting import emit, tensor_of
from qtorch.capture.kept_calls import DROPOUTS
from qtorch.capture.nodes import given_arguments, operator_name, source_line
from qtorch.errors import UnsupportedLayer

__all__ = ["Written", "write_values", "writes_values"]

aten = torch.ops.aten

#: Views that show the very same elements in the same order.
_SAME = frozenset({"alias", "detach", "contiguous", "to", "_to_copy", "lift_fresh", "positive", "dropout"})
#: Those that show them in another shape.
_RESHAPING = frozenset({
    "view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "ravel",
})  # fmt: skip
#: Those that show them in another order.
_PERMUTING = frozenset({
    "permute", "transpose", "t", "swapaxes", "swapdims", "numpy_T", "mT", "movedim", "moveaxis", "adjoint",
})  # fmt: skip
#: Calls that give parts, each a view along an axis.
_PARTING = frozenset({"split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk", "unsafe_split", "unbind"})


@dataclass(frozen=True)
class Written:
    """What the calls of a graph wrote.

    Attributes:
        attributes: names of parameters and buffers.
        by_inputs: those of them into which something is written that hangs on the inputs, and the line that does.
        at_rest: of those into which what they have was written, as a clipped parameter that is clipped once more.
        through_dropout: whether a write into what dropout gave was one into what it got, which in training it is not.
    """

    attributes: tuple[str, ...] = ()
    by_inputs: Mapping[str, str] = field(default_factory=dict)
    at_rest: tuple[str, ...] = ()
    through_dropout: bool = False


def write_values(traced: fx.GraphModule) -> Written:
    """Rewrite, in place, every call that writes into a tensor.

    Args:
        traced: a graph of ATen calls, with their shapes as ``emit`` keeps them.

    Returns:
        What was written; nothing writes any more.

    Raises:
        UnsupportedLayer: a write that has no value: through a view that several elements share, or that steps over
            some, or into some of a batch's samples.
    """
    if not writes_values(traced.graph):
        return Written()
    rewriting = _Rewriting(traced)
    for node in list(traced.graph.nodes):
        rewriting.rewrite(node)
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    attributes, at_rest = (tuple(dict.fromkeys(each)) for each in (rewriting.attributes, rewriting.at_rest))
    return Written(attributes, rewriting.by_inputs, at_rest, rewriting.through_dropout)


def writes_values(graph: fx.Graph) -> bool:
    """Whether any call of a graph writes into a tensor."""
    return any(_written(node) is not None for node in graph.nodes)


def _written(node: fx.Node) -> fx.Node | None:
    """The tensor that a call writes into."""
    if isinstance(node.target, torch._ops.OpOverload):
        for place, argument in enumerate(node.target._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
                return given if isinstance(given, fx.Node) else None
    return None


class _Rewriting:
    """What is known while a graph is rewritten from the front: views, and the values that tensors have by now."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.graph, self.net = traced.graph, traced
        #: The tensor that a view looks into, one step up.
        self.parent: dict[fx.Node, fx.Node] = {}
        #: What a call takes parts of, as it was called: by now it reads the value of that.
        self.parted: dict[fx.Node, fx.Node] = {}
        #: Calls that gave back what they wrote into.
        self.written_as: dict[fx.Node, fx.Node] = {}
        #: How often each base was written; at which count a value of a tensor was taken, and that value.
        self.writes: dict[fx.Node, int] = {}
        self.values: dict[fx.Node, tuple[int, fx.Node]] = {}
        self.attributes: list[str] = []
        self.by_inputs: dict[str, str] = {}
        self.at_rest: list[str] = []
        self.through_dropout = False

    def rewrite(self, node: fx.Node) -> None:
        """Let ``node`` read what its arguments are by now, and what it writes be a value."""
        written, source = _written(node), node.args[0] if node.args else None
        # What is a view is looked at before its argument is another node.
        if written is None and node.op in ("call_function", "call_module") and isinstance(source, fx.Node):
            self._note_view(node, source)
        now = {each: self._now(each, node) for each in node.all_input_nodes}
        if any(each is not value for each, value in now.items()):
            node.args = fx.map_arg(node.args, now.__getitem__)
            node.kwargs = fx.map_arg(node.kwargs, now.__getitem__)
        if written is not None:
            self._write(node, self.written_as.get(written, written), now[written])

    def _is_parameter(self, base: fx.Node) -> bool:
        return base.op == "get_attr" and isinstance(_attribute(self.net, str(base.target)), nn.Parameter)

    def _name(self, node: fx.Node) -> str:
        """The operator's name; dropout's for a layer that hands on the tensor that it gets."""
        layer = self.net.get_submodule(str(node.target)) if node.op == "call_module" else None
        return "dropout" if isinstance(layer, DROPOUTS) and not layer.training else operator_name(node)

    def _note_view(self, node: fx.Node, source: fx.Node) -> None:
        if node.op == "call_module":
            if self._name(node) in _SAME:
                self.parent[node] = self.written_as.get(source, source)
            return
        if operator_name(node) in _PARTING:
            self.parted[node] = source
            return
        if source in self.parted and operator_name(node) == "":
            source = self.parted[source]
        elif operator_name(node) in ("", "lift_fresh_copy"):
            # A copy, whatever tensors without values say.
            return
        mine, theirs = tensor_of(node), tensor_of(source)
        if mine is None or theirs is None or mine.untyped_storage()._cdata != theirs.untyped_storage()._cdata:
            return
        self.parent[node] = self.written_as.get(source, source)

    def _base(self, node: fx.Node) -> fx.Node:
        while node in self.parent:
            node = self.parent[node]
        return node

    def _now(self, node: fx.Node, before: fx.Node) -> fx.Node:
        """The node that has the value that ``node`` shows by now."""
        node = self.written_as.get(node, node)
        count = self.writes.get(self._base(node), 0)
        taken, value = self.values.get(node, (0, node))
        if taken == count:
            return value
        source = self._now(self.parent[node], before)
        with self.graph.inserting_before(before):
            if node.op == "call_module":
                value = source
            elif operator_name(node):
                value = emit(self.graph, node.target, (source, *node.args[1:]), node.kwargs, like=node)
            else:
                # One of several parts, as a part alone.
                axis, start, end, narrow = _part(node)
                value = emit(self.graph, aten.slice.Tensor, (source, axis, start, end), like=node)
                if narrow:
                    value = emit(self.graph, aten.squeeze.dim, (value, axis), like=node)
        self.values[node] = (count, value)
        return value

    def _write(self, node: fx.Node, written: fx.Node, before: fx.Node) -> None:
        """Make what ``node`` writes the value of ``written``, which was ``before``, and of all that it is a view of."""
        base, chain = self._base(written), [written]
        with self.graph.inserting_before(node):
            value = self._value(node, before)
            by_inputs = _hangs_on_inputs(value)
            if self._is_parameter(base) and not by_inputs:
                # A network whose parameters are others after a call has been refused: it writes what is there, such as
                # a clipped parameter, clipped once more. Who reads it goes on reading it, and it gets its gradient.
                self.at_rest.append(str(base.target))
                self.written_as[node] = written
                return
            while chain[-1] in self.parent:
                chain.append(self.parent[chain[-1]])
            values = [value]
            for view, parent in pairwise(chain):
                self.through_dropout |= view.op == "call_module"
                values.append(self._put_back(view, self._now(parent, node), values[-1], node))
        self.writes[base] = self.writes.get(base, 0) + 1
        for each, new in zip(chain, values, strict=True):
            self.values[each] = (self.writes[base], new)
        if base.op == "get_attr":
            self.attributes.append(str(base.target))
            if by_inputs:
                self.by_inputs.setdefault(str(base.target), source_line(node))
        self.written_as[node] = written

    def _value(self, node: fx.Node, before: fx.Node) -> fx.Node:
        """What a call writes."""
        name = operator_name(node)
        if name == "copy_" and isinstance(node.args[1], fx.Node):
            copied, into = tensor_of(node.args[1]), tensor_of(before)
            if copied is not None and into is not None and copied.shape == into.shape:
                return node.args[1]
            return emit(self.graph, aten.expand_as.default, (node.args[1], before), like=node)
        if name == "zero_":
            return emit(self.graph, aten.zeros_like.default, (before,), like=node)
        if name == "fill_":
            value = node.args[1]
            if isinstance(value, fx.Node):
                return emit(self.graph, aten.expand_as.default, (value, before), like=node)
            return emit(self.graph, aten.full_like.default, (before, value), like=node)
        overload = _plain(node.target)
        if overload is None:
            raise _refusal(node, f"{name}, which has no form that gives a value")
        given = given_arguments(node)
        defaults = {each.name: each.default_value for each in (*_arguments(overload), *_arguments(node.target))}
        arguments = {each.name: given.get(each.name, defaults[each.name]) for each in _arguments(overload)}
        named = {each.name: arguments.pop(each.name) for each in _arguments(overload) if each.kwarg_only}
        return emit(self.graph, overload, tuple(arguments.values()), named, like=node)

    def _put_back(self, view: fx.Node, parent: fx.Node, value: fx.Node, writer: fx.Node) -> fx.Node:
        """The value of ``parent`` in which what ``view`` shows of it is ``value``."""
        name = self._name(view)
        if name in _SAME:
            return value
        shape = tensor_of(parent).shape  # type: ignore[union-attr]
        if name in _RESHAPING:
            # The batch is the one size that is not a number.
            sizes = [each if isinstance(each, int) else -1 for each in shape]
            return emit(self.graph, aten.reshape.default, (value, sizes), like=writer)
        if name in _PERMUTING:
            return emit(self.graph, aten.permute.default, (value, _order_back(view, len(shape))), like=writer)
        if name == "diagonal":
            given = (parent, value, *view.args[1:])
            return emit(self.graph, aten.diagonal_scatter.default, given, view.kwargs, like=writer)
        if name == "slice" and _step(view) != 1:
            axis, start, end, step = _sliced(view)
            if not isinstance(shape[axis], int):
                raise _refusal(writer, f"a write into every {step}. sample of a batch")
            return emit(self.graph, aten.slice_scatter.default, (parent, value, axis, start, end, step), like=writer)
        if name not in ("slice", "select", ""):
            raise _refusal(writer, f"a write into what {name} shows of a tensor")
        axis, start, end, narrow = _part(view)
        size = shape[axis]
        if not isinstance(size, int):
            if not narrow and start == 0 and end >= 2**62:
                return value
            raise _refusal(writer, "a write into some of a batch's samples")
        if narrow:
            value = emit(self.graph, aten.unsqueeze.default, (value, axis), like=writer)
        parts = [value]
        if start > 0:
            parts.insert(0, emit(self.graph, aten.slice.Tensor, (parent, axis, 0, start), like=writer))
        if end < size:
            parts.append(emit(self.graph, aten.slice.Tensor, (parent, axis, end, size), like=writer))
        return value if len(parts) == 1 else emit(self.graph, aten.cat.default, (parts, axis), like=writer)


def _attribute(net: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(net.get_submodule(owner), name)


def _hangs_on_inputs(value: fx.Node) -> bool:
    waiting, met = [value], {value}
    while waiting:
        new = {each for each in waiting.pop().all_input_nodes if each not in met}
        met |= new
        waiting += new
    return any(each.op == "placeholder" for each in met)


def _plain(target: Any) -> Any:
    """The operator that gives as a value what another writes, in place or into ``out``; ``None`` without."""
    name, wanted = target._schema.name.partition("::")[2], _typed(target)
    if not name.endswith("_"):
        wanted = [each for each in wanted if each[0] != "out"]
    for plain in (name.removesuffix("_"), f"{name}functional"):
        packet = getattr(aten, plain, None)
        for overload in [] if packet is None else packet.overloads():
            if _typed(getattr(packet, overload)) == wanted:
                return getattr(packet, overload)
    return None


def _arguments(target: Any) -> list[Any]:
    return list(target._schema.arguments)


def _typed(target: Any) -> list[tuple[str, str]]:
    return [(each.name, str(each.type)) for each in _arguments(target)]


def _part(view: fx.Node) -> tuple[int, int, int, bool]:
    """Axis, first and behind the last index of what a slice, a selection or one of several parts shows, and whether
    that axis is gone."""
    given: Any = view.args
    name, source = operator_name(view), given[0]
    if name in ("slice", "select"):
        shape: Any = tensor_of(source).shape  # type: ignore[union-attr]
        axis = given[1] % len(shape)
        known = isinstance(shape[axis], int)
        if name == "select":
            index = given[2] % shape[axis] if known else given[2]
            return axis, index, index + 1, True
        _, start, end, _ = _sliced(view)
        if known:
            start, end, _ = slice(start, end).indices(shape[axis])
        return axis, start or 0, 2**63 - 1 if end is None else end, False
    number, whole = given[1], tensor_of(source.args[0])
    assert whole is not None
    place = 1 if operator_name(source) == "unbind" else 2
    axis = (source.args[place] if len(source.args) > place else source.kwargs.get("dim", 0)) % whole.dim()
    if operator_name(source) == "unbind":
        return axis, number, number + 1, True
    sizes = [each.shape[axis] for each in source.meta["val"]]
    return axis, sum(sizes[:number]), sum(sizes[: number + 1]), False


def _sliced(view: fx.Node) -> tuple[int, Any, Any, int]:
    """Axis, start, end and step of a slice."""
    given: Any = view.args
    start, end, step = list(given[2:]) + [None, None, 1][len(given) - 2 :]
    axis = given[1] if len(given) > 1 else 0
    return axis % tensor_of(given[0]).dim(), start, end, step  # type: ignore[union-attr]


def _step(view: fx.Node) -> int:
    return _sliced(view)[3]


def _order_back(view: fx.Node, rank: int) -> list[int]:
    """The permutation that undoes a view's."""
    marks = torch.empty(*range(2, rank + 2), device="meta")
    shown: Any = view.target(marks, *view.args[1:])  # type: ignore[operator]
    order = [size - 2 for size in shown.shape]
    return [order.index(axis) for axis in range(rank)]


def _refusal(node: fx.Node, got: str) -> UnsupportedLayer:
    line = source_line(node)
    return UnsupportedLayer(
        where=f"call {node.name!r}" + (f" ({line})" if line else ""),
        expected="a call in place whose result can be written as a value",
        got=got,
        remedy="write x = x + y instead of x += y, and take parts with .clone() before something is written into them",
    )
