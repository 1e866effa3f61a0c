"""What is the same for every sample, whatever comes in: computed for one, and repeated.

``torch.ones(x.shape[0])`` gives lengths, ``torch.arange(n).expand(x.shape[0], n) < lengths[:, None]`` a mask of them:
the batch's size is all of the input that is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.capture.batch.layout import has_batch, is_plain
from qtorch.capture.emitting import emit, emit_buffer, tensor_of
from qtorch.capture.nodes import attribute_of, draws_numbers, operator_name

__all__ = ["compute_one_of_alike_samples"]

aten = torch.ops.aten

#: Calls that make a tensor of a size, or repeat one: they have forms of their own.
_PLAIN = frozenset({
    "expand", "full", "full_like", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "repeat", "zeros",
    "zeros_like",
})  # fmt: skip
#: Numbers of samples that show whether they are alike.
_COUNTS = (2, 3)


def compute_one_of_alike_samples(traced: fx.GraphModule) -> None:
    """Put, in place, a buffer of one sample that is repeated where calls give the same for every sample.

    Args:
        traced: calls of ATen operators; ``meta["val"]`` of each node is its value without data.
    """
    alike = list(_alike(traced.graph))
    known = set(alike)
    ends = [node for node in alike if tensor_of(node) is not None and any(each not in known for each in node.users)]
    masks = _of_masks(alike)
    ends = [node for node in ends if node in masks and operator_name(node) not in _PLAIN and is_plain(_shape(node))]
    if not ends:
        return
    few, many = (_values(traced, alike, samples) for samples in _COUNTS)
    for node in ends:
        one = few[node][:1]
        if all(bool((each[node] == one).all()) for each in (few, many)):
            _repeat(traced, node, one)
    traced.graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
    traced.graph.lint()
    traced.recompile()


def _of_masks(nodes: list[fx.Node]) -> set[fx.Node]:
    """Those that are conditions, or come of such: states and indices that are made so have forms of their own."""
    found: set[fx.Node] = set()
    for node in nodes:
        value = tensor_of(node)
        if (value is not None and value.dtype is torch.bool) or any(each in found for each in node.all_input_nodes):
            found.add(node)
    return found


def _shape(node: fx.Node) -> tuple[Any, ...]:
    value = tensor_of(node)
    return () if value is None else tuple(value.shape)


def _alike(graph: fx.Graph) -> Iterator[fx.Node]:
    """What is computed of the batch's size and of buffers, in order."""
    known: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "get_attr":
            value = attribute_of(node)
            fits = isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
        elif operator_name(node) == "sym_size":
            fits = True
        else:
            writes = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
            alike = node.op == "call_function" and all(each in known for each in node.all_input_nodes)
            fits = alike and not writes and not draws_numbers(node)
        if fits:
            known.add(node)
            yield node


def _values(traced: fx.GraphModule, nodes: list[fx.Node], samples: int) -> dict[fx.Node, Any]:
    """By node, for so many samples."""
    values: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in nodes:
            if node.op == "get_attr":
                values[node] = attribute_of(node).detach().clone()
            elif operator_name(node) == "sym_size":
                values[node] = _size(node, samples)
            else:
                args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
                target: Any = node.target
                values[node] = target(*args, **kwargs)
    return values


def _size(node: fx.Node, samples: int) -> int:
    """A size for so many samples: of what has the batch as often as it may be in one axis, the same share."""
    size: Any = node.meta["val"]
    if isinstance(size, int):
        return size
    (symbol,) = size.node.expr.free_symbols
    return int(size.node.expr.subs(symbol, samples))


def _repeat(traced: fx.GraphModule, node: fx.Node, value: Tensor) -> None:
    graph = traced.graph
    size = next(each for each in graph.nodes if operator_name(each) == "sym_size" and has_batch((each.meta["val"],)))
    with graph.inserting_before(node):
        one = emit_buffer(graph, f"{node.name}_of_one_sample", value, like=node)
        whole = emit(graph, aten.expand.default, (one, [size, *value.shape[1:]]), like=node)
    node.replace_all_uses_with(whole)
