"""Calls that are put into a captured graph, with their shape, and the line and layer of what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from itertools import count
from typing import Any

import torch
from torch import Tensor, fx
from torch._dispatch.python import enable_python_dispatcher
from torch._guards import detect_fake_mode
from torch._ops import OpOverload

__all__ = ["OF_THE_VALUE", "emit", "emit_buffer", "tensor_of", "value_of_call"]

#: What a node's ``meta`` says of its value alone, not of where it stands.
OF_THE_VALUE = frozenset({"val", "tensor_meta", "example_value", "shape", "value", "dtype", "torch_fn", "from_node"})


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
    node.meta["val"] = value_of_call(node, like)
    return node


def emit_buffer(graph: fx.Graph, stem: str, value: Tensor, *, like: fx.Node) -> fx.Node:
    """A read, at the graph's insertion point, of a new buffer of the module whose graph it is.

    Args:
        graph: that it is put into.
        stem: of the buffer's name, behind which a number comes where it is taken.
        value: of the buffer.
        like: whose line of source and layer it has.
    """
    module: Any = graph.owning_module
    name = next(each for i in count() if not hasattr(module, each := f"{stem}_{i}" if i else stem))
    module.register_buffer(name, value)
    node = graph.get_attr(name)
    node.meta = {key: each for key, each in like.meta.items() if key not in OF_THE_VALUE}
    mode = detect_fake_mode([like.meta["val"]])
    node.meta["val"] = value if mode is None else mode.from_tensor(value, static_shapes=True)
    return node


def value_of_call(node: fx.Node, like: fx.Node) -> Any:
    """The value without data that a call gives, of those of its arguments, or of what stands in the same graph."""
    target: Any = node.target
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda each: each.meta["val"])
    mode = detect_fake_mode([each.meta["val"] for each in (*node.all_input_nodes, like)])
    assert mode is not None
    # What an operator asks of the batch's size is answered for the example, and settles nothing. Kernels in C++, as
    # that of a pad, would take the size for a number; those in Python leave it open.
    unsettled = nullcontext() if mode.shape_env is None else mode.shape_env.suppress_guards()
    with torch.no_grad(), mode, unsettled, enable_python_dispatcher():
        return target(*args, **kwargs)
