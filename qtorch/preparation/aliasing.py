"""Calls that write into their input: a traced graph does not show it, so what reads that input later would be wrong."""

from __future__ import annotations

from torch import fx

from qtorch.capture.nodes import operator_name
from qtorch.capture.writing_calls import is_view, writes
from qtorch.preparation.matching import refusal

__all__ = ["require_no_aliasing", "require_no_numbers"]

#: What takes values out of tensors.
_NUMBERS = frozenset(["item", "_local_scalar_dense", "nonzero"])


def require_no_aliasing(traced: fx.GraphModule) -> None:
    """Refuse an in-place call if anything reads its input, or what that is a view of, afterwards.

    Raises:
        UnsupportedLayer: names the call.
    """
    order = {node: i for i, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        source = node.args[0] if node.args and writes(traced, node) else None
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
            source = source.args[0] if is_view(source) else None


def require_no_numbers(traced: fx.GraphModule) -> None:
    """Refuse Python numbers that are made of tensors, since they would be constants.

    Raises:
        UnsupportedLayer: names the call.
    """
    for node in traced.graph.nodes:
        if operator_name(node) in _NUMBERS:
            raise refusal(
                traced,
                node,
                expected="values that stay in tensors",
                got=f"a number of Python, by {operator_name(node)}()",
                remedy="keep it a tensor, as y.amax(1, keepdim=True) instead of y.max().item() does",
            )
