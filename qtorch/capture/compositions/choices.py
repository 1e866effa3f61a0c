"""Choices between numbers by conditions: tables where one tensor decides and is chosen from, else sums of products.

A condition is True or False for each element, which no tensor of the device is: where numbers depend on it, it is 1 and
0 instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.conditions import (
    ONES,
    constant_number,
    is_condition,
    ones_of,
    origins_of_condition,
    steps_from,
    table_of,
)
from qtorch.capture.compositions.known_values import computed_value, known_value
from qtorch.capture.compositions.masks import filled, of_one_sample
from qtorch.capture.compositions.table import decomposes, is_constant, result_shape, same_shape, shape_of, writer_of
from qtorch.capture.nodes import operator_name
from qtorch.families.functions_of_one_number import Steps, in_one_table

aten = torch.ops.aten

#: Of a relation between two tensors the larger, or the smaller, of which is then chosen.
_EXTREMA: Mapping[str, Any] = {
    "gt": aten.maximum.default, "ge": aten.maximum.default, "lt": aten.minimum.default, "le": aten.minimum.default,
}  # fmt: skip

#: Calls that make floats of counts.
_OF_COUNTS = frozenset({"_to_copy", "add", "div", "mul", "sub", "to", "type_as"})


@decomposes("where")
def _where(condition: Any, input: Any, other: Any) -> Any:
    condition = of_one_sample(condition)
    if isinstance(input, fx.Proxy) and same_shape(shape_of(input), result_shape(input)):
        number = constant_number(other)
        other = other if number is None else number
    if isinstance(input, fx.Proxy):
        scores = filled(input, condition, other)
        if scores is not None:
            return scores
    if isinstance(other, fx.Proxy):
        scores = filled(other, aten.logical_not.default(condition), input)
        if scores is not None:
            return scores
    if not _is_finite(input) or not _is_finite(other):
        return None
    if is_constant(condition):
        return _side_by_side(aten.to.dtype(condition, torch.float32), input, other)
    forms = (form(condition, input, other) for form in (_extremum, _in_one_table, _by_products))
    return next((found for found in forms if found is not None), None)


@decomposes("masked_fill")
def _masked_fill(input: Any, mask: Any, value: Any) -> Any:
    mask = of_one_sample(mask)
    return _where(mask, value, input)


@decomposes("mul")
def _mul(input: Any, other: Any) -> Any:
    """With a condition, or with the ones of one: what it is multiplied with, or zero."""
    for mask, x in ((input, other), (other, input)):
        if is_condition(mask):
            return _where(mask, x, 0.0)
        decides = _condition_of_ones(mask)
        origin: Any = mask.node.args[0] if decides else None
        chain = steps_from(origin, x) if decides else None
        if decides and chain is not None:
            return table_of(mask, origin, (("where", decides, chain, ONES[1]),))
    return None


def _condition_of_ones(x: Any) -> Steps:
    """The chain of the condition that :func:`_as_number` made a tensor of; empty where it made none."""
    if not isinstance(x, fx.Proxy) or x.node.target is not in_one_table:
        return ()
    steps: Any = x.node.args[1]
    name, *chains = steps[0]
    return tuple(chains[0]) if len(steps) == 1 and name == "where" and tuple(chains[1:]) == ONES else ()


@decomposes("bucketize", "searchsorted")
def _bucketize(
    input: Any, boundaries: Any = None, sorted_sequence: Any = None, right: bool = False, out_int32: bool = False,
    side: Any = None,
) -> Any:  # fmt: skip
    """How many known boundaries lie below each number, as one table, where that is made a float of."""
    origin = writer_of(input).origin
    value = known_value(boundaries if sorted_sequence is None else sorted_sequence)
    if value is None or value.dim() != 1 or not 0 < len(value) < 256 or bool((value.diff() < 0).any()):
        return None
    if not all(operator_name(user) in _OF_COUNTS and user.meta["val"].dtype is torch.float32 for user in origin.users):
        return None
    relation = "ge" if right or side == "right" else "gt"
    return table_of(input, input.node, _counted(relation, value.tolist(), 0))


def _counted(relation: str, boundaries: list[float], below: int) -> Steps:
    """The chain to the number of boundaries that a relation holds for, and those known to be ``below``."""
    if not boundaries:
        return (("fill", float(below)),)
    middle = len(boundaries) // 2
    more = _counted(relation, boundaries[middle + 1 :], below + middle + 1)
    return (("where", ((relation, boundaries[middle]),), more, _counted(relation, boundaries[:middle], below)),)


@decomposes("index_put")
def _index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A number where a condition of the same shape holds."""
    (mask, *others) = indices
    if others or accumulate or not is_condition(mask) or not same_shape(shape_of(mask), shape_of(input)):
        return None
    return None if constant_number(values) is None else _where(mask, values, input)


@decomposes("to", "_to_copy", "type_as")
def _as_number(input: Any, dtype: Any = None, other: Any = None, non_blocking: bool = False, copy: bool = False) -> Any:
    """A condition as 1 and 0; a constant in the type that an activation has, which is known without its numbers."""
    if is_constant(input):
        return None if other is None else aten.to.dtype(input, other.node.meta["val"].dtype)
    if dtype is torch.float32 or other is not None:
        cut = _cut_off(input)
        if cut is not None:
            return cut
    return _where(input, 1.0, 0.0) if is_condition(input) else None


#: Types of whole numbers, by how many of them there are where they overflow soon; 0 of others.
_WHOLE = {torch.int64: 0, torch.int32: 0, torch.int16: 0, torch.uint8: 256}


def _cut_off(x: Any) -> Any:
    """Whole numbers that were made of floats, as floats: a function of each number; None of others."""
    if not isinstance(x, fx.Proxy) or operator_name(x.node) not in ("to", "_to_copy"):
        return None
    made = x.node.meta["val"].dtype
    if made not in _WHOLE:
        return None
    source = fx.Proxy(x.node.args[0], x.tracer)  # type: ignore[arg-type]
    if is_constant(source) or source.node.meta["val"].dtype is not torch.float32:
        return None
    whole = aten.trunc.default(source)
    return aten.remainder.Scalar(whole, _WHOLE[made]) if _WHOLE[made] else whole


@decomposes("add", "div", "mul", "sub")
def _of_cut_off(input: Any, other: Any) -> Any:
    """Of whole numbers that were made of floats, and become floats here."""
    cut = [_cut_off(each) for each in (input, other)]
    if all(each is None for each in cut):
        return None
    target: Any = writer_of(input).origin.target
    return target(*(x if whole is None else whole for x, whole in zip((input, other), cut, strict=True)))


def _side_by_side(here: Any, where: Any, elsewhere: Any) -> Any:
    """``where`` times 1, ``elsewhere`` times 0, and the other way round, added: a product with either is exact."""
    if _is_zero(elsewhere):
        return _product(here, where)
    there = aten.sub.Tensor(1, here)
    if _is_zero(where):
        return _product(there, elsewhere)
    return aten.add.Tensor(_product(here, where), _product(there, elsewhere))


def _product(mask: Any, x: Any) -> Any:
    return mask if constant_number(x) == 1 else aten.mul.Tensor(mask, x)


def _extremum(condition: Any, input: Any, other: Any) -> Any:
    """Of two tensors the one that the condition calls the larger or the smaller."""
    name = operator_name(condition.node)
    if name not in _EXTREMA or not isinstance(input, fx.Proxy) or not isinstance(other, fx.Proxy):
        return None
    compared, chosen = condition.node.args[:2], (input.node, other.node)
    if compared == chosen:
        return _EXTREMA[name](input, other)
    opposite = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}[name]
    return _EXTREMA[opposite](input, other) if compared == chosen[::-1] else None


def _in_one_table(condition: Any, input: Any, other: Any) -> Any:
    """What one tensor decides between functions of it, or numbers."""
    for origin, decides in origins_of_condition(condition.node).items():
        here, elsewhere = (steps_from(origin, x) for x in (input, other))
        if here is not None and elsewhere is not None:
            return table_of(condition, origin, (("where", decides, here, elsewhere),))
    return None


def _by_products(condition: Any, input: Any, other: Any) -> Any:
    here = ones_of(condition)
    return None if here is None else _side_by_side(here, input, other)


def _is_zero(x: Any) -> bool:
    return constant_number(x) == 0


def _is_finite(x: Any) -> bool:
    """Whether an operand may be multiplied by zero: infinities that are known may not."""
    number = constant_number(x)
    if number is not None or not is_constant(x):
        return number is None or math.isfinite(number)
    with torch.no_grad():
        value = computed_value(x.node, lambda _: True)
    return isinstance(value, torch.Tensor) and bool(value.isfinite().all())
