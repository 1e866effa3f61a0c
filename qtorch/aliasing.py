"""Calls that write into their input: a traced graph does not show it, so what reads that input later would be wrong."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

from qtorch.matching import refusal
from qtorch.tracing import value_of

__all__ = ["require_no_aliasing", "require_no_numbers", "writing_calls", "written_by"]

_OPERATORS = (operator.iadd, operator.isub, operator.imul, operator.itruediv)

#: What takes values out of tensors.
_NUMBERS = frozenset(["item", "tolist", "numpy", "__len__", "nonzero"])

#: Calls whose result may be a view of their first argument.
_VIEWS = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "permute",
        "transpose",
        "swapaxes",
        "movedim",
        "narrow",
        "chunk",
        "split",
        "getitem",
        "contiguous",
        "detach",
        "select",
        "expand",
        "expand_as",
        "view_as",
        "ravel",
        "unbind",
        "diagonal",
        "moveaxis",
        "swapdims",
        "t",
    ]
)


def require_no_aliasing(traced: fx.GraphModule) -> None:
    """Refuse an in-place call if anything reads its input, or what that is a view of, afterwards.

    Raises:
        UnsupportedLayer: names the call.
    """
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        source = node.args[0] if node.args and _writes(traced, node) else None
        while isinstance(source, fx.Node):
            later = [user for user in source.users if order[user] > order[node]]
            if later:
                raise refusal(
                    traced,
                    node,
                    expected="an in-place call whose input nothing reads afterwards",
                    got=f"{later[0].name!r}, which does",
                    remedy="leave out inplace=True, or write x = x + y for x += y",
                )
            source = source.args[0] if _is_view(source) else None


def writing_calls(traced: fx.GraphModule) -> list[fx.Node]:
    """The calls of a traced graph that write into their input."""
    return [node for node in traced.graph.nodes if "out" in node.kwargs or (node.args and _writes(traced, node))]


def written_by(node: fx.Node) -> fx.Node | None:
    """The tensor that a call writes into, behind views of it."""
    source = node.kwargs.get("out", node.args[0] if node.args else None)
    while isinstance(source, fx.Node) and _is_view(source) and isinstance(source.args[0], fx.Node):
        source = source.args[0]
    return source if isinstance(source, fx.Node) else None


def require_no_numbers(traced: fx.GraphModule) -> None:
    """Refuse Python numbers that are made of tensors, since they would be constants.

    Raises:
        UnsupportedLayer: names the call.
    """
    for node in traced.graph.nodes:
        if node.op == "call_method" and node.target in _NUMBERS:
            raise refusal(
                traced,
                node,
                expected="values that stay in tensors",
                got=f"a number of Python, by {node.target}()",
                remedy="keep it a tensor, as y.amax(1, keepdim=True) instead of y.max().item() does",
            )


def _writes(traced: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    named = node.op in ("call_function", "call_method") and name.endswith("_") and not name.endswith("__")
    return named or node.target in _OPERATORS or value_of(node.kwargs.get("inplace", False)) is True


def _is_view(node: fx.Node) -> bool:
    name: Any = getattr(node.target, "__name__", node.target)
    if node.target is getattr:
        return node.args[1] in ("data", "T", "mT", "H", "mH")
    return node.op in ("call_function", "call_method") and name in _VIEWS
