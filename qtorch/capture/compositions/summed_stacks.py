"""Stacks of which the sum or mean along their new axis is taken: additions, which need no such axis."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from qtorch.capture.emitting import emit, tensor_of
from qtorch.capture.nodes import operator_name

__all__ = ["add_up_stacks"]

aten = torch.ops.aten


def add_up_stacks(traced: fx.GraphModule) -> None:
    """Rewrite ``torch.stack(tensors, dim).sum(dim)``, and its mean; the new axis may lie before the batch's."""
    for node in list(traced.graph.nodes):
        if operator_name(node) not in ("sum", "mean") or operator_name(node.args[0]) != "stack":
            continue
        stack: Any = node.args[0]
        tensors = stack.args[0]
        dim: Any = node.args[1] if len(node.args) > 1 else None
        keepdim = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        axes = [dim] if isinstance(dim, int) else list(dim or ())
        shape = tensor_of(stack)
        place = stack.args[1] if len(stack.args) > 1 else stack.kwargs.get("dim", 0)
        if shape is None or keepdim or len(axes) != 1 or axes[0] % shape.dim() != place % shape.dim():
            continue
        with traced.graph.inserting_before(node):
            total = tensors[0]
            for each in tensors[1:]:
                total = emit(traced.graph, aten.add.Tensor, (total, each), like=node)
            if operator_name(node) == "mean":
                total = emit(traced.graph, aten.mul.Tensor, (total, 1 / len(tensors)), like=node)
        node.replace_all_uses_with(total)
        traced.graph.erase_node(node)
        if not stack.users:
            traced.graph.erase_node(stack)
