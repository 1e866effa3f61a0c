"""Max poolings that give indices which nobody reads, as those that give the largest values alone."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from qtorch.capture.nodes import operator_name, shape_of

__all__ = ["drop_unread_indices"]

_ATEN = torch.ops.aten
_PLAIN: dict[str, Any] = {
    "max_pool1d_with_indices": _ATEN.max_pool1d.default,
    "max_pool2d_with_indices": _ATEN.max_pool2d.default,
    "adaptive_max_pool1d": _ATEN.max_pool1d.default,
    "adaptive_max_pool2d": _ATEN.max_pool2d.default,
}


def drop_unread_indices(traced: fx.GraphModule) -> None:
    """Replace a pooling of which the values alone are read; an adaptive one where its windows are all of one size.

    Shapes are known of every node (:class:`qtorch.capture.nodes.Recorder`).
    """
    for node in list(traced.graph.nodes):
        values = [user for user in node.users if user.target is operator.getitem and user.args[1] == 0]
        read = [user for user in node.users if user not in values and user.users]
        arguments = _arguments(node) if operator_name(node) in _PLAIN and not read else None
        if arguments is None or not values:
            continue
        with traced.graph.inserting_before(node):
            plain = traced.graph.call_function(_PLAIN[operator_name(node)], arguments)
        plain.meta = {**values[0].meta}
        for value in values:
            value.replace_all_uses_with(plain)
        for user in list(node.users):
            traced.graph.erase_node(user)
        traced.graph.erase_node(node)
    traced.recompile()


def _arguments(node: fx.Node) -> tuple[Any, ...] | None:
    """Of the plain pooling; ``None`` for an adaptive one whose windows differ."""
    if not operator_name(node).startswith("adaptive"):
        return node.args
    source = node.args[0]
    assert isinstance(source, fx.Node)
    sizes = tuple(node.args[1])  # type: ignore[arg-type]
    image = shape_of(source)[-len(sizes) :]
    if any(n % size for n, size in zip(image, sizes, strict=True)):
        return None
    window = [n // size for n, size in zip(image, sizes, strict=True)]
    return source, window, window
