"""Chains of functions of one tensor: what becomes one table, where a call reads another and nobody else does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx

from qtorch.families.functions_of_one_number import Steps
from qtorch.ops import ROWS
from qtorch.preparation.matching import MatchedCall

__all__ = ["chained"]

#: Ops with kernels of their own that are steps of a chain beside a table: the step, from their attributes.
_STEPS: Mapping[str, Callable[[Mapping[str, Any]], tuple[Any, ...]]] = {
    "relu": lambda attrs: ("relu",),
    "relu6": lambda attrs: ("relu6",),
    "leaky_relu": lambda attrs: ("leaky_relu", attrs["alpha"]),
    "hard_swish": lambda attrs: ("hardswish",),
    "logistic": lambda attrs: ("sigmoid",),
    "tanh": lambda attrs: ("tanh",),
}


def chained(producer: fx.Node, first: MatchedCall, reader: fx.Node, second: MatchedCall) -> MatchedCall | None:
    """Two calls, the second of the first's result, as one table; ``None`` if neither is one, or one can be no step.

    Args:
        producer: the node of the first.
        first: its call.
        reader: the node of the second.
        second: its call.
    """
    table = ROWS["table"]
    if table not in (first.row, second.row):
        return None
    steps = [_steps(producer, first), _steps(reader, second)]
    if not all(steps):
        return None
    (source,) = first.sources.values()
    return MatchedCall(table, {"steps": (*steps[0], *steps[1])}, {"input": source}, {})


def _steps(node: fx.Node, call: MatchedCall) -> Steps:
    """A call as steps of a chain; empty where it is none."""
    name, attrs = call.row.name, call.attrs
    if name == "table":
        return tuple(attrs["steps"])
    if name in _STEPS:
        return (_STEPS[name](attrs),)
    if name not in ("add", "sub", "mul") or (number := _number(node, call)) is None:
        return ()
    step = "rsub" if name == "sub" and "input" in call.constants else name
    activation = attrs["activation"]
    return ((step, number), *([] if activation == "none" else [(activation,)]))


def _number(node: fx.Node, call: MatchedCall) -> float | None:
    """The number in a call of a tensor and a number; ``None`` where there is a tensor instead, which may be trained."""
    written = [each for each in (*node.args, *node.kwargs.values()) if isinstance(each, int | float)]
    constants = [each for each in call.constants.values() if isinstance(each, Tensor) and not each.dim()]
    return float(constants[0]) if len(written) == len(constants) == 1 else None
