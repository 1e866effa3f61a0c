"""Start states of recurrent networks, zeros for each sample: ``x.new_zeros(x.shape[0], n)``, which is no constant.

A device has no op that makes a tensor of the batch's size. A number of each sample times zeros is such a tensor, and
its integers are those of zero, whatever the number is.
"""

from __future__ import annotations

import math
import operator

import torch
from torch import fx

from qtorch.capture.nodes import is_tensor, is_zeros, shape_of

__all__ = ["write_out_zeros"]

_ATEN = torch.ops.aten


def write_out_zeros(traced: fx.GraphModule) -> None:
    """Replace, in a traced network, every tensor of zeros that has the batch's size by a product with an input."""
    inputs = [n for n in traced.graph.nodes if n.op == "placeholder" and is_tensor(n) and len(shape_of(n)) > 1]
    batch = shape_of(inputs[0])[:1] if inputs else ()
    zeros = [n for n in traced.graph.nodes if _is_zeros(n) and len(shape_of(n)) > 1 and shape_of(n)[:1] == batch]
    for node in zeros:
        _write_out(traced, node, _numbers_before(traced, node, inputs, batch))
    if zeros:
        traced.graph.eliminate_dead_code()
        traced.recompile()


def _is_zeros(node: fx.Node) -> bool:
    return is_zeros(node) and is_tensor(node) and _is_float32(node)


def _is_float32(node: fx.Node) -> bool:
    return node.meta.get("dtype", torch.float32) == torch.float32


def _numbers_before(traced: fx.GraphModule, zeros: fx.Node, inputs: list[fx.Node], batch: tuple[int, ...]) -> fx.Node:
    """An input of numbers; where all are indices, the first numbers made of one that ``zeros`` can be made behind."""
    found = next(filter(_is_float32, inputs), None)
    if found is not None:
        return found
    order = {node: place for place, node in enumerate(traced.graph.nodes)}
    reader = min(zeros.users, key=order.__getitem__, default=zeros)
    for node in traced.graph.nodes:
        if node is reader:
            break
        numbers = is_tensor(node) and _is_float32(node) and not is_zeros(node) and len(shape_of(node)) > 1
        if numbers and shape_of(node)[:1] == batch:
            reader.prepend(zeros)
            return node
    return inputs[0]


def _write_out(traced: fx.GraphModule, node: fx.Node, source: fx.Node) -> None:
    shape, graph = shape_of(node), traced.graph
    batch, ones = shape[0], (1,) * (len(shape) - 1)
    name = f"_{node.name}"
    traced.register_buffer(name, torch.zeros(1, *shape[1:]), persistent=False)
    with graph.inserting_before(node):
        numbers = math.prod(shape_of(source)[1:])
        flat = _known(graph.call_function(_ATEN.flatten.using_ints, (source, 1)), node, (batch, (numbers,)))
        first = _known(graph.call_function(operator.getitem, (flat, (slice(None), slice(0, 1)))), node, (batch, (1,)))
        number = _known(graph.call_function(_ATEN.reshape.default, (first, [-1, *ones])), node, (batch, ones))
        zeros = _known(graph.get_attr(name), node, (1, shape[1:]))
        product = _known(graph.call_function(_ATEN.mul.Tensor, (number, zeros)), node, (batch, shape[1:]))
    node.replace_all_uses_with(product)
    graph.erase_node(node)


def _known(product: fx.Node, like: fx.Node, shape: tuple[int, tuple[int, ...]]) -> fx.Node:
    product.meta = {**like.meta, "shape": (shape[0], *shape[1])}
    product.stack_trace = like.stack_trace
    return product
