"""Masks of scores that a softmax reads: minus infinity, or a large negative number, where it is to give nothing.

Such a number has no place on a grid. What it stands for becomes a call of
:func:`qtorch.families.masked_scores.masked_scores`, of limits that are constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from qtorch.capture.compositions.conditions import (
    MOVEMENTS,
    constant_number,
    moved,
    ones_of,
    origins_of_condition,
    table_of,
    two_values,
    whole_chain,
)
from qtorch.capture.compositions.known_values import computed_value, known_value
from qtorch.capture.compositions.table import is_constant, same_shape, shape_of, writer_of
from qtorch.capture.nodes import operator_name, source_line
from qtorch.errors import UnsupportedLayer
from qtorch.families.functions_of_one_number import Steps, computed
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


#: Of two conditions, either of which is enough.
_EITHER = frozenset({"__or__", "bitwise_or", "logical_or"})

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


def masked(scores: Any, kept: Any, least: float = -NOTHING, **number: float) -> Any:
    """Scores where a constant mask, which broadcasts to them, says so, and nothing elsewhere.

    A condition of what comes in is a mask as well, where it has a form; None where it has none. In floats its scores
    become ``least``: of a row that is forbidden as a whole a softmax of infinities has no number, as the network's. Or
    what a ``number`` says that the network has there, ``filled`` or ``added``; see
    :func:`qtorch.families.masked_scores.masked_scores`.

    Raises:
        UnsupportedLayer: a row of scores has nothing that is kept: a softmax has no number for it.
    """
    kept = of_one_sample(kept)
    if not is_constant(kept):
        return _masked_by_condition(scores, kept, least, number)
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
    return _held_below(scores, aten.where.Scalar(kept, NOTHING, -NOTHING), number)


def _held_below(scores: Any, limits: Any, number: Mapping[str, float]) -> Any:
    numbers = (number.get("filled"), number.get("added")) if number and _is_alone(scores) else ()
    arguments = (scores, limits, room_below(shape_of(scores)[-1]), *numbers)
    return scores.tracer.create_proxy("call_function", masked_scores, arguments, {})


def _is_alone(scores: Any) -> bool:
    """Whether a mask of scores has no other before or behind it: several have to forbid by the same number."""
    source = scores.node
    while source.args and isinstance(source.args[0], fx.Node) and operator_name(source) in (*HANDED_ON, "div", "mul"):
        source = source.args[0]
    return source.target is not masked_scores and _is_last(writer_of(scores).origin)


def _is_last(mask: fx.Node) -> bool:
    further = [each for each in mask.users if operator_name(each) in _BEHIND_MASK or each.target is masked_scores]
    return all(operator_name(each) in ("div", "mul") and _is_last(each) for each in further)


def _masked_by_condition(scores: Any, kept: Any, least: float, number: Mapping[str, float]) -> Any:
    """Scores with a mask that is computed: limits by a table of what decides. Of two masks one after the other."""
    forbidden: Any = kept.node.args[0] if operator_name(kept.node) == "logical_not" else None
    if forbidden is not None and operator_name(forbidden) in _EITHER:
        for part in forbidden.args:
            scores = masked(scores, aten.logical_not.default(fx.Proxy(part, kept.tracer)), least)
            if scores is None:
                return None
        return scores
    decided = _decided(kept)
    return None if decided is None else _held_below(scores, _limits(*decided, least), number)


def _decided(condition: Any) -> tuple[Any, Steps] | None:
    """A tensor of a condition's shape, and the chain that makes 1 and 0 of it; None where there is none.

    What is done to the condition's shape is done to that tensor: between limits and scores stands no other grid.
    """
    name = operator_name(condition.node)
    if name == "logical_not" or name in MOVEMENTS:
        found = _decided(fx.Proxy(condition.node.args[0], condition.tracer))
        if found is None:
            return None
        x, steps = found
        return (x, (*steps, ("rsub", 1.0))) if name == "logical_not" else (moved(condition, x), steps)
    origins = list(origins_of_condition(condition.node).items())
    if origins:
        origin, decides = origins[-1]
        return _before_movements(fx.Proxy(origin, condition.tracer), decides)
    ones = ones_of(condition)
    return None if ones is None else (ones, (("gt", 0.5),))


def _before_movements(x: Any, steps: Steps) -> tuple[Any, Steps]:
    """What a tensor was computed of before it was moved, moved instead, and the chain that then leads on."""
    if operator_name(x.node) not in MOVEMENTS:
        return x, steps
    source, before = whole_chain(x.node.args[0])
    inner, chain = _before_movements(fx.Proxy(source, x.tracer), (*before, *steps))
    return moved(x, inner), chain


def _limits(x: Any, decides: Steps, least: float) -> Any:
    """NOTHING where a chain gives 1, and ``least`` elsewhere."""
    return table_of(x, x.node, (("where", decides, (("fill", NOTHING),), (("fill", least),)),))


def _least(number: float) -> float:
    """What a score that is filled with a number becomes."""
    return -math.inf if number == -math.inf else -NOTHING


def _finite(how: str, number: float) -> dict[str, float]:
    return {how: number} if math.isfinite(number) else {}


def filled(scores: Any, kept: Any, value: Any) -> Any:
    """Scores of which others than those that are kept are filled with a number that forbids them; None of others."""
    number: float | Tensor | None = constant_number(value)
    number = constant_value(value) if number is None else number
    if number is None or (isinstance(number, Tensor) and number.numel() != 1) or float(number) > _FORBIDS:
        return None
    return (
        masked(scores, kept, _least(float(number)), **_finite("filled", float(number)))
        if _gives_scores(scores)
        else None
    )


def added_mask(scores: Any, mask: Any, *, known: bool = False) -> Any:
    """Scores plus a constant mask, some of whose numbers forbid scores; None of a mask that has none such.

    Args:
        scores: they.
        mask: float32, broadcasts to them.
        known: whether it is known that a softmax reads the sum.
    """
    value = constant_value(mask)
    if value is None:
        return _added_by_condition(scores, mask) if known or _gives_scores(scores) else None
    if not bool((value <= _FORBIDS).any()) or not (known or _gives_scores(scores)):
        return None
    mask = of_one_sample(mask)
    kept = aten.gt.Scalar(mask, _FORBIDS)
    if bool(torch.where(value > _FORBIDS, value, 0.0).any()):
        scores = aten.add.Tensor(scores, aten.where.ScalarOther(kept, mask, 0.0))
    numbers = value[value <= _FORBIDS].unique().tolist()
    return masked(scores, kept, **(_finite("added", numbers[0]) if len(numbers) == 1 else {}))


def _added_by_condition(scores: Any, mask: Any) -> Any:
    """Scores plus one number where a condition holds and another elsewhere, one of which forbids; None of others."""
    found = _two_numbers(mask)
    if found is None:
        return None
    x, decides, there, elsewhere = found
    if (there <= _FORBIDS) == (elsewhere <= _FORBIDS):
        return None
    kept, number = (decides, there) if elsewhere <= _FORBIDS else ((*decides, ("rsub", 1.0)), elsewhere)
    least = min(there, elsewhere)
    limits = _limits(x, kept, _least(least))
    scores = aten.add.Tensor(scores, number) if number else scores
    return _held_below(scores, limits, _finite("added", least - number))


def _two_numbers(mask: Any) -> tuple[Any, Steps, float, float] | None:
    """Of a tensor that is one number or another: what decides, in its shape, the chain to 1 and 0, and both numbers."""
    if operator_name(mask.node) in MOVEMENTS:
        found = _two_numbers(fx.Proxy(mask.node.args[0], mask.tracer))
        return None if found is None else (moved(mask, found[0]), found[1], found[2], found[3])
    numbers = two_values(mask.node)
    if numbers is not None:
        return fx.Proxy(numbers[0], mask.tracer), numbers[1], numbers[2], numbers[3]
    source, steps = whole_chain(mask.node)
    if steps:
        found = _two_numbers(fx.Proxy(source, mask.tracer))
        if found is None:
            return None
        there, elsewhere = computed(steps, torch.tensor(found[2:])).tolist()
        return found[0], found[1], there, elsewhere
    tracer = mask.tracer
    args = [fx.Proxy(each, tracer) if isinstance(each, fx.Node) else each for each in mask.node.args]
    name = operator_name(mask.node)
    if name not in ("masked_fill", "where") or len(args) != 3:
        return None
    condition, there, elsewhere = (args[1], args[2], args[0]) if name == "masked_fill" else args
    decided, there, elsewhere = _decided(condition), constant_number(there), constant_number(elsewhere)
    return None if decided is None or there is None or elsewhere is None else (*decided, there, elsewhere)
