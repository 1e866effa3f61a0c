"""Calls that are put into a captured graph, with their shape, and the line and layer of what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from torch import Tensor, fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import _pytree as pytree

__all__ = ["emit", "tensor_of"]


def tensor_of(node: Any) -> Tensor | None:
    """The tensor without values that has a node's shape and type; ``None`` where it gives none."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return value if isinstance(value, Tensor) else None


def emit(
    graph: fx.Graph, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None, *, like: fx.Node
) -> fx.Node:
    """A new call, at the graph's insertion point.

    Args:
        graph: that it is put into.
        target: function of torch or operator.
        args: positional, nodes among them.
        kwargs: by name.
        like: whose line of source and layer it has.
    """
    name = target._schema.name.partition("::")[2] if isinstance(target, OpOverload) else target.__name__
    node = graph.create_node("call_function", target, args, dict(kwargs or {}), name)
    node.meta = {name: each for name, each in like.meta.items() if name != "val"}
    values = [each.meta.get("val") for each in node.all_input_nodes]
    fake = next((each for each in pytree.tree_leaves(values) if isinstance(each, FakeTensor)), None)
    if fake is not None:
        given, named = fx.map_arg((args, dict(kwargs or {})), lambda each: each.meta["val"])
        shapes = fake.fake_mode.shape_env
        # A size that happens to be another's is not to become it.
        with fake.fake_mode, nullcontext() if shapes is None else shapes.suppress_guards():
            node.meta["val"] = target(*given, **named)
    return node
