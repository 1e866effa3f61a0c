"""The batch in front, wherever a network moves it: a device has one sample, and no axis for others.

Attention moves the batch behind heads, windows and frames are merged with it, layers of sequences have it second. Every
call of such a tensor is written as one of the tensor that has the batch in front (:mod:`qtorch.capture.batch.layout`),
by the rules of this folder's other files. Where samples would come together the call is refused.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn.modules.batchnorm import _BatchNorm

import qtorch.capture.batch.bags  # fills the table, as the next three do
import qtorch.capture.batch.images
import qtorch.capture.batch.recurrences
import qtorch.capture.batch.shapes  # noqa: F401
from qtorch.capture.batch.arithmetic import elementwise, moved_function
from qtorch.capture.batch.calls import RULES, Held, MovedCall, Result
from qtorch.capture.batch.layers import moved_layer
from qtorch.capture.batch.layout import has_batch, is_plain, layout_of, multiple_of_batch
from qtorch.capture.emitting import emit
from qtorch.capture.nodes import operator_name, source_line
from qtorch.errors import UnsupportedLayer
from qtorch.remedies.asked import none

__all__ = ["put_batch_in_front"]

aten = torch.ops.aten


def put_batch_in_front(traced: fx.GraphModule) -> str:
    """Write, in place, calls of tensors that have the batch elsewhere than in axis 0, or more than it there.

    What has the batch in front already stays as it is, and so does what a network returns otherwise.

    Args:
        traced: calls of ATen operators and of layers; ``meta["val"]`` of each node is its value without data.

    Returns:
        A batch norm that is called several times instead of once, and so measures in training what each time comes in;
        empty if there is none.

    Raises:
        UnsupportedLayer: a call in which samples would come together, or one that has no such form.
    """
    found = (shape for node in traced.graph.nodes for shape in _shapes(node))
    if all(is_plain(shape) for shape in found if has_batch(shape)):
        return ""
    before = _norms(traced)
    moving = _Moving(traced)
    moving.run()
    traced.graph.eliminate_dead_code(_stays)
    moving.require_followed()
    traced.graph.lint()
    traced.recompile()
    return next(iter(_norms(traced) - before), "")


def _norms(traced: fx.GraphModule) -> Counter[str]:
    """Batch norms, by how often each is called."""
    calls = [str(node.target) for node in traced.graph.find_nodes(op="call_module")]
    return Counter(name for name in calls if isinstance(traced.get_submodule(name), _BatchNorm))


def _stays(node: fx.Node) -> bool:
    return node.op in ("placeholder", "output")


def _shapes(node: fx.Node) -> Iterator[tuple[Any, ...]]:
    value = node.meta.get("val")
    for each in value if isinstance(value, tuple | list) else (value,):
        if isinstance(each, Tensor):
            yield tuple(each.shape)


class _Moving:
    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.known: dict[fx.Node, Held] = {}
        self.parts: dict[fx.Node, list[fx.Node]] = {}
        self.several: dict[fx.Node, list[Held]] = {}
        self.refused: list[fx.Node] = []
        self.size: fx.Node | None = None

    def run(self) -> None:
        for node in list(self.traced.graph.nodes):
            if node.op == "output" or not node.users:
                continue
            if node.target is operator.getitem and node.args[0] in self.several:
                self._take(node)
            elif isinstance(node.meta.get("val"), torch.SymInt):
                self._count(node)
            else:
                self._follow(node)

    def _follow(self, node: fx.Node) -> None:
        shapes = list(_shapes(node))
        with_batch = [each for each in node.all_input_nodes if any(map(has_batch, _shapes(each)))]
        if not with_batch and not any(map(has_batch, shapes)):
            return
        sources = [self.known[each] for each in node.all_input_nodes if each in self.known]
        if all(each.layout.plain for each in sources) and all(is_plain(shape) for shape in shapes):
            self._keep(node, [Held(node, layout_of(shape, 0, 1, 1)) for shape in shapes])
            return
        if node.op not in ("call_function", "call_module"):
            return
        result = None
        with self.traced.graph.inserting_before(node):
            if all(each in self.known for each in with_batch):
                result = self._result(MovedCall(node, self.known, self._batch, self.parts))
        if result is not None:
            self._keep(node, result)
        elif any(not each.layout.plain for each in sources):
            self.refused.append(node)

    def _result(self, call: MovedCall) -> Result:
        node = call.node
        if node.op == "call_module":
            return moved_layer(call, self.traced, self.traced.get_submodule(str(node.target)))
        name = operator_name(node)
        if name in RULES:
            return RULES[name](call)
        pointwise = isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags
        return elementwise(call) if pointwise else moved_function(call)

    def _keep(self, node: fx.Node, result: Held | list[Held]) -> None:
        if isinstance(node.meta["val"], tuple | list):
            assert isinstance(result, list)
            self.several[node] = result
            return
        held = result[0] if isinstance(result, list) else result
        if held.layout.plain and held.node is not node:
            node.replace_all_uses_with(held.node)
            self.known[held.node] = held
        self.known[node] = held

    def _take(self, node: fx.Node) -> None:
        """One of several results."""
        source, at = node.args
        held = self.several[source][at]  # type: ignore[index]
        if held.node is source:
            self.known[node] = Held(node, held.layout)
            return
        if isinstance(held.node.meta["val"], tuple | list):
            with self.traced.graph.inserting_before(node):
                held = Held(emit(self.traced.graph, operator.getitem, (held.node, at), like=node), held.layout)
        self._keep(node, held)

    def _count(self, node: fx.Node) -> None:
        """A size that is asked of a tensor which another stands for."""
        tensors = [each for each in node.all_input_nodes if isinstance(each.meta["val"], Tensor)]
        of_others = any(each not in self.known or not self.known[each].layout.plain for each in tensors)
        count = multiple_of_batch(node.meta["val"]) if of_others else 0
        if count:
            with self.traced.graph.inserting_before(node):
                batch = self._batch()
                size = batch if count == 1 else emit(self.traced.graph, operator.mul, (batch, count), like=node)
            node.replace_all_uses_with(size)

    def _batch(self) -> fx.Node:
        """What computes the batch's size."""
        if self.size is None:
            first = next(each for each in self.traced.graph.find_nodes(op="placeholder") if each in self.known)
            with self.traced.graph.inserting_after(first):
                self.size = emit(self.traced.graph, aten.sym_size.int, (first, 0), like=first)
        return self.size

    def require_followed(self) -> None:
        """Refuse the first call that is still there without a form.

        Raises:
            UnsupportedLayer: there is one.
        """
        left = set(self.traced.graph.nodes)
        for node in self.refused:
            if node in left:
                raise self._refusal(node)

    def _refusal(self, node: fx.Node) -> UnsupportedLayer:
        line = source_line(node)
        name = operator_name(node) or getattr(node.target, "__name__", str(node.target))
        moved = [self.known[each].layout for each in node.all_input_nodes if each in self.known]
        given = next(each for each in moved if not each.plain)
        sizes = [str(size) for size in given.sizes]
        sizes[given.axis] = " * ".join(
            [
                *([str(given.outer)] if given.outer > 1 else []),
                "batch",
                *([str(given.inner)] if given.inner > 1 else []),
            ]
        )
        return UnsupportedLayer(
            where=f"layer {name!r}" + (f" ({line})" if line else ""),
            expected="calls in which samples do not meet, because a device has one",
            got=f"{name!r} of a tensor of shape ({', '.join(sizes)}), whose axis {given.axis} has the batch",
            remedy=none(
                "let the batch be axis 0 there, and compute along other axes: x.view(batch, ...) and x.movedim(1, 0) "
                "bring it to the front"
            ),
        )
