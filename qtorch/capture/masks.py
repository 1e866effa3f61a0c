"""Masks of scores that a softmax reads: minus infinity, or a large negative number, where it is to give nothing.

Such a number has no place on a grid. What it stands for becomes a call of
:func:`qtorch.families.masked_scores.masked_scores`, of limits that are constants.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.decomposition_table import is_constant, shape_of, writer_of
from qtorch.capture.nodes import operator_name
from qtorch.families.masked_scores import NOTHING, masked_scores, room_below, scaled_softmax

__all__ = ["HANDED_ON", "added_mask", "constant_value", "filled", "masked", "reads_scores"]

aten = torch.ops.aten

#: From here down a number in a mask says that a score is to be nothing.
_FORBIDS = -1e4

#: Calls through which scores go as they are, or times a number.
HANDED_ON = frozenset({
    "clone", "contiguous", "expand", "permute", "reshape", "squeeze", "swapaxes", "transpose", "unsqueeze", "view",
})  # fmt: skip

#: Calls behind a mask that are masks too, or go into the softmax: whatever else reads masked scores has a grid for them.
_BEHIND_MASK = frozenset({"div", "masked_fill", "mul", "where"})


def reads_scores(node: fx.Node) -> bool:
    """Whether all that comes of a call goes into softmaxes: what it gives is scores."""
    if operator_name(node) in ("softmax", "special_softmax", "_softmax") or node.target is scaled_softmax:
        return True
    passes = operator_name(node) in _BEHIND_MASK or node.target is masked_scores
    return passes and bool(node.users) and all(map(reads_scores, node.users))


def _gives_scores(x: fx.Proxy) -> bool:
    users = writer_of(x).origin.users
    return bool(users) and all(map(reads_scores, users))


def constant_value(x: Any) -> Tensor | None:
    """The value that a constant has now; ``None`` of what depends on the batch's size, or is no tensor."""
    values: dict[fx.Node, Any] = {}

    def compute(node: fx.Node) -> Any:
        if node not in values:
            if node.op == "get_attr":
                values[node] = fx.Interpreter(node.graph.owning_module).fetch_attr(str(node.target))
            else:
                target: Any = node.target
                args, kwargs = fx.map_arg((node.args, node.kwargs), compute)
                values[node] = target(*args, **kwargs)
        return values[node]

    x = _of_one_sample(x)
    if not isinstance(x, fx.Proxy) or not is_constant(x):
        return None
    with torch.no_grad():
        value = compute(x.node)
    return value if isinstance(value, Tensor) else None


def _of_one_sample(x: Any) -> Any:
    """A constant before it was repeated for every sample."""
    while isinstance(x, fx.Proxy) and operator_name(x.node) in ("expand", "lift_fresh_copy"):
        x = fx.Proxy(x.node.args[0], x.tracer)  # type: ignore[arg-type]
    return x


def masked(scores: Any, kept: Any) -> Any:
    """Scores where a constant mask, which broadcasts to them, says so, and nothing elsewhere."""
    limits = aten.where.Scalar(_of_one_sample(kept), NOTHING, -NOTHING)
    room = room_below(shape_of(scores)[-1])
    return scores.tracer.create_proxy("call_function", masked_scores, (scores, limits, room), {})


def filled(scores: Any, kept: Any, value: Any) -> Any:
    """Scores of which others than those that are kept are filled with a number that forbids them; None of others."""
    number = value if isinstance(value, int | float) else constant_value(value)
    if number is None or (isinstance(number, Tensor) and number.numel() != 1) or float(number) > _FORBIDS:
        return None
    return masked(scores, kept) if is_constant(_of_one_sample(kept)) and _gives_scores(scores) else None


def added_mask(scores: Any, mask: Any, *, known: bool = False) -> Any:
    """Scores plus a constant mask, some of whose numbers forbid scores; None of a mask that has none such.

    Args:
        scores: they.
        mask: float32, broadcasts to them.
        known: whether it is known that a softmax reads the sum.
    """
    value = constant_value(mask)
    if value is None or not bool((value <= _FORBIDS).any()) or not (known or _gives_scores(scores)):
        return None
    mask = _of_one_sample(mask)
    kept = aten.gt.Scalar(mask, _FORBIDS)
    if bool(torch.where(value > _FORBIDS, value, 0.0).any()):
        scores = aten.add.Tensor(scores, aten.where.ScalarOther(kept, mask, 0.0))
    return masked(scores, kept)
