"""Choices between numbers by conditions: tables where one tensor decides and is chosen from, else sums of products.

A condition is True or False for each element, which no tensor of the device is: where numbers depend on it, it is 1 and
0 instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from qtorch.capture.compositions.masks import filled, of_one_sample
from qtorch.capture.compositions.table import decomposes, is_constant, kept_apart, same_shape, shape_of
from qtorch.capture.nodes import attribute_of, given_arguments, operator_name
from qtorch.families.functions_of_one_number import BESIDE, FUNCTIONS, REQUIRED, Steps, in_one_table

__all__ = ["as_ones", "is_condition"]

aten = torch.ops.aten

#: Of numbers to conditions: whether they are none of 0.
_CONVERSIONS = frozenset({"to", "_to_copy"})
_RELATIONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})
#: Of a relation between two tensors the larger, or the smaller, of which is then chosen.
_EXTREMA: Mapping[str, Any] = {
    "gt": aten.maximum.default, "ge": aten.maximum.default, "lt": aten.minimum.default, "le": aten.minimum.default,
}  # fmt: skip

#: What is chosen, and what else, where a condition becomes 1 and 0.
_ONES: tuple[Steps, Steps] = ((("fill", 1.0),), (("fill", 0.0),))

#: Tensors that some chain of functions leads from to another one, the nearest first, with the chains.
_Origins = Mapping[fx.Node, Steps]


@decomposes("where")
def _where(condition: Any, input: Any, other: Any) -> Any:
    condition = of_one_sample(condition)
    if is_constant(condition) and isinstance(input, fx.Proxy):
        scores = filled(input, condition, other)
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
    scores = filled(input, aten.logical_not.default(mask), value) if is_constant(mask) else None
    return _where(mask, value, input) if scores is None else scores


@decomposes("mul")
def _mul(input: Any, other: Any) -> Any:
    """With a condition, or with the ones of one: what it is multiplied with, or zero."""
    for mask, x in ((input, other), (other, input)):
        if is_condition(mask):
            return _where(mask, x, 0.0)
        decides = _condition_of_ones(mask)
        origin: Any = mask.node.args[0] if decides else None
        chain = _steps_from(origin, x) if decides else None
        if decides and chain is not None:
            return _table(mask, origin, (("where", decides, chain, _ONES[1]),))
    return None


def _condition_of_ones(x: Any) -> Steps:
    """The chain of the condition that :func:`_as_number` made a tensor of; empty where it made none."""
    if not isinstance(x, fx.Proxy) or x.node.target is not in_one_table:
        return ()
    steps: Any = x.node.args[1]
    name, *chains = steps[0]
    return tuple(chains[0]) if len(steps) == 1 and name == "where" and tuple(chains[1:]) == _ONES else ()


def as_ones(x: Any) -> Any:
    """An operand as numbers: a condition as 1 and 0, None where that has no form; others as they are."""
    return _as_ones(x) if is_condition(x) else x


@decomposes("index_put")
def _index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """A number where a condition of the same shape holds."""
    (mask, *others) = indices
    if others or accumulate or not is_condition(mask) or not same_shape(shape_of(mask), shape_of(input)):
        return None
    return None if _constant_number(values) is None else _where(mask, values, input)


@decomposes("to", "_to_copy", "type_as")
def _as_number(input: Any, dtype: Any = None, other: Any = None, non_blocking: bool = False, copy: bool = False) -> Any:
    """A condition as 1 and 0; a constant in the type that an activation has, which is known without its numbers."""
    if is_constant(input):
        return None if other is None else aten.to.dtype(input, other.node.meta["val"].dtype)
    return _where(input, 1.0, 0.0) if is_condition(input) else None


def is_condition(x: Any) -> bool:
    """Whether an operand is True or False for each element."""
    value = x.node.meta["val"] if isinstance(x, fx.Proxy) else None
    return isinstance(value, torch.Tensor) and value.dtype is torch.bool


def _side_by_side(here: Any, where: Any, elsewhere: Any) -> Any:
    """``where`` times 1, ``elsewhere`` times 0, and the other way round, added: a product with either is exact."""
    if _is_zero(elsewhere):
        return _product(here, where)
    there = aten.sub.Tensor(1, here)
    if _is_zero(where):
        return _product(there, elsewhere)
    return aten.add.Tensor(_product(here, where), _product(there, elsewhere))


def _product(mask: Any, x: Any) -> Any:
    return mask if _constant_number(x) == 1 else aten.mul.Tensor(mask, x)


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
    for origin, decides in _origins_of_condition(condition.node).items():
        here, elsewhere = (_steps_from(origin, x) for x in (input, other))
        if here is not None and elsewhere is not None:
            return _table(condition, origin, (("where", decides, here, elsewhere),))
    return None


def _by_products(condition: Any, input: Any, other: Any) -> Any:
    here = _as_ones(condition)
    return None if here is None else _side_by_side(here, input, other)


def _as_ones(condition: Any) -> Any:
    """A condition as 1 and 0; None where it is none of comparisons."""
    if is_constant(condition):
        return aten.to.dtype(condition, torch.float32)
    for origin, decides in _origins_of_condition(condition.node).items():
        return _table(condition, origin, decides)
    name, parts = operator_name(condition.node), _parts(condition)
    if name in _RELATIONS:
        return _table(condition, aten.sub.Tensor(*parts).node, ((name, 0.0),)) if all(map(_is_real, parts)) else None
    ones = [_as_ones(part) for part in parts] if name in (*_TOGETHER, *_OPPOSITE, *_OVER_AXES) else []
    if not ones or any(each is None for each in ones):
        return None
    if name in _OPPOSITE:
        return aten.sub.Tensor(1, ones[0])
    if name in _TOGETHER:
        return _TOGETHER[name](*ones)
    dim, *keepdim = condition.node.args[1:] or [None]
    axes = kept_apart(parts[0], dim)
    return None if axes is None else _OVER_AXES[name](ones[0], axes, *keepdim)


_TOGETHER: Mapping[str, Any] = {
    "logical_and": aten.mul.Tensor, "bitwise_and": aten.mul.Tensor, "__and__": aten.mul.Tensor,
    "logical_or": aten.maximum.default, "bitwise_or": aten.maximum.default, "__or__": aten.maximum.default,
}  # fmt: skip
_OPPOSITE = frozenset({"logical_not", "bitwise_not"})
_OVER_AXES: Mapping[str, Any] = {"any": aten.amax.default, "all": aten.amin.default}


def _parts(condition: Any) -> list[Any]:
    """The tensors that a condition is of."""
    return [fx.Proxy(each, condition.tracer) for each in condition.node.args if isinstance(each, fx.Node)]


def _is_real(x: fx.Proxy) -> bool:
    value = x.node.meta["val"]
    return isinstance(value, torch.Tensor) and value.dtype is torch.float32


def _table(condition: Any, origin: fx.Node, steps: Steps) -> Any:
    return condition.tracer.create_proxy("call_function", in_one_table, (fx.Proxy(origin, condition.tracer), steps), {})


def _origins_of_condition(node: fx.Node) -> _Origins:
    """Tensors that alone decide a condition, with the chains that make 1 and 0 of them; none of one of several."""
    name, args = operator_name(node), node.args
    if name in _RELATIONS:
        number = _written_number(args[1])
        if number is None or not isinstance(args[0], fx.Node):
            return {}
        return {origin: (*steps, (name, number)) for origin, steps in _origins(args[0])}
    if name in _CONVERSIONS and isinstance(args[0], fx.Node) and _is_float(args[0]):
        return {origin: (*steps, ("ne", 0.0)) for origin, steps in _origins(args[0])}
    sources = [each for each in args if isinstance(each, fx.Node)]
    inner = [_origins_of_condition(each) for each in sources]
    if name in _OPPOSITE:
        return {origin: (*steps, ("rsub", 1.0)) for origin, steps in inner[0].items()}
    if name not in _TOGETHER or len(inner) != 2:
        return {}
    one, none = _ONES
    common = [origin for origin in inner[0] if origin in inner[1]]
    if "and" in name:
        return {origin: (("where", inner[0][origin], inner[1][origin], none),) for origin in common}
    return {origin: (("where", inner[0][origin], one, inner[1][origin]),) for origin in common}


def _origins(node: fx.Node) -> Iterator[tuple[fx.Node, Steps]]:
    """A tensor and what it is a function of each number of, with the chains from there."""
    chain: Steps = ()
    while True:
        yield node, chain
        steps = _steps(node)
        if not steps or not isinstance(node.args[0], fx.Node):
            return
        node, chain = node.args[0], (*steps, *chain)


def _steps_from(origin: fx.Node, x: Any) -> Steps | None:
    """The chain from a tensor to another, or to a number; None where none leads there."""
    number = _written_number(x)
    if number is not None:
        return (("fill", number),)
    return next((steps for node, steps in _origins(x.node) if node is origin), None)


def _steps(node: fx.Node) -> Steps:
    """A call as steps of a chain; empty of what is no function of each number alone."""
    if node.target is in_one_table:
        steps: Any = node.args[1]
        return tuple(steps)
    name = operator_name(node)
    function = FUNCTIONS.get(name) or BESIDE.get(name)
    if function is None or name in _RELATIONS or not _is_float(node):
        return ()
    given = given_arguments(node)
    if given.pop("alpha", 1) != 1:
        return ()
    values = [given.get(each, default) for each, default in zip(function.arguments, function.defaults, strict=True)]
    if any(value is REQUIRED or not (value is None or isinstance(value, int | float | str)) for value in values):
        return ()
    return ((name, *(float(value) if isinstance(value, int | float) else value for value in values)),)


def _is_float(node: fx.Node) -> bool:
    value = node.meta["val"]
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _written_number(x: Any) -> float | None:
    """The number that an operand is in the code itself, and not a buffer that may be loaded with another."""
    node = x.node if isinstance(x, fx.Proxy) else x
    if not isinstance(node, fx.Node):
        return float(x)
    found = _filling(node)
    return None if found.op == "get_attr" and not _is_literal(found) else _number_of_node(node)


def _is_literal(node: fx.Node) -> bool:
    """Whether a constant is one of code, which ``torch.export`` names, and no parameter or buffer."""
    return str(node.target).startswith("lifted_tensor_")


def _constant_number(x: Any) -> float | None:
    """The number that every element of an operand is, where that can be read off."""
    node = x.node if isinstance(x, fx.Proxy) else x
    return _number_of_node(node) if isinstance(node, fx.Node) else float(x)


def _filling(node: fx.Node) -> fx.Node:
    """The tensor that is copied or expanded."""
    while operator_name(node) in ("detach", "expand", "lift_fresh_copy") and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    return node


def _number_of_node(node: fx.Node) -> float | None:
    node = _filling(node)
    if node.op == "get_attr":
        value = attribute_of(node)
        return float(value) if value.numel() == 1 and not isinstance(value, nn.Parameter) else None
    name = operator_name(node)
    if name == "neg" and isinstance(node.args[0], fx.Node):
        number = _number_of_node(node.args[0])
        return None if number is None else -number
    if name == "add" and isinstance(node.args[0], fx.Node) and isinstance(node.args[1], int | float):
        # Ones of the batch's size are zeros of it, and one.
        number = _number_of_node(node.args[0])
        return None if number is None else number + node.args[1]
    filled: Any = _NUMBERS.get(name, node.args[-1] if name in _FILLED else None)
    return float(filled) if isinstance(filled, int | float) else None


#: Operators by what every element is.
_NUMBERS = {"zeros": 0.0, "zeros_like": 0.0, "new_zeros": 0.0, "ones": 1.0, "ones_like": 1.0, "new_ones": 1.0}
#: Operators whose last argument by position is what every element is.
_FILLED = frozenset({"full", "scalar_tensor"})


def _is_zero(x: Any) -> bool:
    return _constant_number(x) == 0


def _is_finite(x: Any) -> bool:
    """Whether an operand may be multiplied by zero: infinities that are known are not, nor constants of a file."""
    number = _constant_number(x)
    return math.isfinite(number) if number is not None else not is_constant(x)
