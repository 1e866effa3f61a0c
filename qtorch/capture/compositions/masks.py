"""Masks of scores that a softmax reads: minus infinity, or a large negative number, where it is to give nothing.

Such a number has no place on a grid. What it stands for becomes a call of
:func:`qtorch.families.masked_scores.masked_scores`, of limits that are constants.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.compositions.known_values import computed_value, known_value
from qtorch.capture.compositions.table import is_constant, same_shape, shape_of, writer_of
from qtorch.capture.nodes import operator_name, source_line
from qtorch.errors import UnsupportedLayer
from qtorch.families.masked_scores import NOTHING, masked_scores, room_below, scaled_softmax

__all__ = ["HANDED_ON", "added_mask", "constant_value", "filled", "masked", "of_one_sample", "reads_scores"]

aten = torch.ops.aten

#: From here down a number in a mask says that a score is to be nothing.
_FORBIDS = -1e4

#: Calls through which scores go as they are, or times a number.
HANDED_ON = frozenset({
    "clone", "contiguous", "expand", "permute", "reshape", "squeeze", "swapaxes", "transpose", "unsqueeze", "view",
})  # fmt: skip

#: Calls behind a mask that are masks too, or go into the softmax. Whatever else read masked scores would need a grid
#: that has them.
_BEHIND_MASK = frozenset({"div", "masked_fill", "mul", "where"})


#: Calls that do the same to every sample of a mask.
_OF_EACH_SAMPLE = frozenset({
    "__and__", "__or__", "bitwise_and", "bitwise_not", "bitwise_or", "eq", "ge", "gt", "le", "logical_and",
    "logical_not", "logical_or", "lt", "ne", "slice", "unsqueeze",
})  # fmt: skip


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
    """The value that a constant has now, for one sample; ``None`` of what is none."""
    x = of_one_sample(x)
    if not isinstance(x, fx.Proxy) or not is_constant(x):
        return None
    with torch.no_grad():
        value = computed_value(x.node, lambda node: True)
    return value if isinstance(value, Tensor) else None


def of_one_sample(x: Any) -> Any:
    """A constant before it was repeated for every sample, by calls written anew; ``x`` itself where it is none."""
    if not isinstance(x, fx.Proxy) or is_constant(x):
        return x
    name, args = operator_name(x.node), x.node.args
    first = fx.Proxy(args[0], x.tracer) if args and isinstance(args[0], fx.Node) else None
    if first is None:
        return x
    if name in ("expand", "lift_fresh_copy"):
        sizes = [1, *x.node.meta["val"].shape[1:]]
        alike = name != "expand" or same_shape(sizes, [1] * (len(sizes) - len(shape_of(first))) + [*shape_of(first)])
        if alike:
            return of_one_sample(first)
        constant = of_one_sample(first)
        known = is_constant(constant) and all(isinstance(size, int) for size in sizes)
        return aten.expand.default(constant, sizes) if known else x
    if name not in _OF_EACH_SAMPLE or (name in ("unsqueeze", "slice") and args[1] == 0):
        return x
    written = [of_one_sample(fx.Proxy(each, x.tracer)) if isinstance(each, fx.Node) else each for each in args]
    if not all(is_constant(each) for each in written if isinstance(each, fx.Proxy)):
        return x
    return x.tracer.create_proxy("call_function", x.node.target, tuple(written), dict(x.node.kwargs))


def masked(scores: Any, kept: Any) -> Any:
    """Scores where a constant mask, which broadcasts to them, says so, and nothing elsewhere.

    Raises:
        UnsupportedLayer: a row of scores has nothing that is kept: a softmax has no number for it.
    """
    kept = of_one_sample(kept)
    value = known_value(kept)
    if value is not None and bool(value.all()):
        return scores
    value = constant_value(kept)
    if value is not None and not bool(value.any(-1).all()):
        call = writer_of(scores).origin
        line = source_line(call)
        raise UnsupportedLayer(
            where=f"call of {operator_name(call)}" + (f" ({line})" if line else ""),
            expected="a mask that leaves each query one key at least",
            got=f"one of shape {tuple(value.shape)} with a row that forbids all of them",
            remedy="keep one place of that row, as its own, or leave the row out of the queries",
        )
    limits = aten.where.Scalar(kept, NOTHING, -NOTHING)
    room = room_below(shape_of(scores)[-1])
    return scores.tracer.create_proxy("call_function", masked_scores, (scores, limits, room), {})


def filled(scores: Any, kept: Any, value: Any) -> Any:
    """Scores of which others than those that are kept are filled with a number that forbids them; None of others."""
    number = value if isinstance(value, int | float) else constant_value(value)
    if number is None or (isinstance(number, Tensor) and number.numel() != 1) or float(number) > _FORBIDS:
        return None
    return masked(scores, kept) if is_constant(of_one_sample(kept)) and _gives_scores(scores) else None


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
    mask = of_one_sample(mask)
    kept = aten.gt.Scalar(mask, _FORBIDS)
    if bool(torch.where(value > _FORBIDS, value, 0.0).any()):
        scores = aten.add.Tensor(scores, aten.where.ScalarOther(kept, mask, 0.0))
    return masked(scores, kept)
