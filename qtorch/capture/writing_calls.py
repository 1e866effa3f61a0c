"""Calls that write into a tensor, and calls whose result is a view of one, in a traced graph."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from torch import fx

from qtorch.capture.nodes import operator_name, value_of
from qtorch.ops import of_rows
from qtorch.row.row import Row

__all__ = ["is_view", "writes", "writing_calls", "written_by"]

_OPERATORS = (operator.iadd, operator.isub, operator.imul, operator.itruediv)

#: Calls whose result may be a view of their first argument, of such as no row stands for or as leave no trace on the
#: device. Those of rows say it themselves.
_OTHER_VIEWS = frozenset({
    "contiguous", "detach", "diagonal", "expand", "expand_as", "select", "slice", "unbind",
})  # fmt: skip


@of_rows
def _views(rows: Mapping[str, Row]) -> frozenset[Any]:
    targets = {match.target for row in rows.values() if row.view for match in row.matches}
    return _OTHER_VIEWS | {getattr(target, "__name__", target) for target in targets}


def writing_calls(traced: fx.GraphModule) -> list[fx.Node]:
    """The calls of a traced graph that write into their input."""
    return [node for node in traced.graph.nodes if "out" in node.kwargs or (node.args and writes(traced, node))]


def written_by(node: fx.Node) -> fx.Node | None:
    """The tensor that a call writes into, behind views of it."""
    source = node.kwargs.get("out", node.args[0] if node.args else None)
    while isinstance(source, fx.Node) and is_view(source) and isinstance(source.args[0], fx.Node):
        source = source.args[0]
    return source if isinstance(source, fx.Node) else None


def writes(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a call writes into its first argument."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    name = operator_name(node) or str(getattr(node.target, "__name__", node.target))
    named = node.op in ("call_function", "call_method") and name.endswith("_") and not name.endswith("__")
    return named or node.target in _OPERATORS or value_of(node.kwargs.get("inplace", False)) is True


def is_view(node: fx.Node) -> bool:
    """Whether the result of a call may be a view of its first argument."""
    name: Any = operator_name(node) or getattr(node.target, "__name__", node.target)
    if node.target is getattr:
        return node.args[1] in ("data", "T", "mT", "H", "mH")
    return node.op in ("call_function", "call_method") and name in _views()
