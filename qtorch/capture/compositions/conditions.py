"""Conditions: True or False for each element, which no tensor of the device is, as the numbers 1 and 0.

A condition that functions of one tensor alone decide is a table of it; others are compared, multiplied and inverted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from qtorch.capture.compositions.table import constant, is_constant, kept_apart
from qtorch.capture.nodes import attribute_of, given_arguments, operator_name
from qtorch.families.functions_of_one_number import BESIDE, FUNCTIONS, REQUIRED, Steps, computed, in_one_table
from qtorch.families.table_rows import rows_of_table

__all__ = [
    "MOVEMENTS",
    "ONES",
    "as_ones",
    "constant_number",
    "is_condition",
    "moved",
    "ones_of",
    "origins_of_condition",
    "steps_from",
    "table_of",
    "two_values",
    "whole_chain",
]

aten = torch.ops.aten

#: Calls that hand on what they get in another order or shape.
MOVEMENTS = frozenset({
    "clone", "contiguous", "expand", "flatten", "permute", "reshape", "select", "slice", "squeeze", "swapaxes",
    "transpose", "unflatten", "unsqueeze", "view",
})  # fmt: skip
#: Of numbers to conditions: whether they are none of 0.
_CONVERSIONS = frozenset({"to", "_to_copy"})


_RELATIONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})


#: What is chosen, and what else, where a condition becomes 1 and 0.
ONES: tuple[Steps, Steps] = ((("fill", 1.0),), (("fill", 0.0),))


#: Tensors that some chain of functions leads from to another one, the nearest first, with the chains.
_Origins = Mapping[fx.Node, Steps]


def as_ones(x: Any) -> Any:
    """An operand as numbers: a condition as 1 and 0, None where that has no form; others as they are."""
    return ones_of(x) if is_condition(x) else x


def is_condition(x: Any) -> bool:
    """Whether an operand is True or False for each element."""
    value = x.node.meta["val"] if isinstance(x, fx.Proxy) else None
    return isinstance(value, torch.Tensor) and value.dtype is torch.bool


def ones_of(condition: Any) -> Any:
    """A condition as 1 and 0; None where it is none of comparisons."""
    if is_constant(condition):
        return aten.to.dtype(condition, torch.float32)
    if operator_name(condition.node) in MOVEMENTS:
        return moved(condition, ones_of(fx.Proxy(condition.node.args[0], condition.tracer)))
    for origin, decides in origins_of_condition(condition.node).items():
        return table_of(condition, origin, decides)
    name, parts = operator_name(condition.node), _parts(condition)
    if name in _RELATIONS:
        if len(parts) == 1:
            return _ones_of_indices(condition)
        return table_of(condition, aten.sub.Tensor(*parts).node, ((name, 0.0),)) if all(map(_is_real, parts)) else None
    ones = [ones_of(part) for part in parts] if name in (*_TOGETHER, *_OPPOSITE, *_OVER_AXES) else []
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


def _ones_of_indices(condition: Any) -> Any:
    """Of indices that are compared with a number: rows of a number, where an embedding says how many there are."""
    indices, number = condition.node.args
    number = written_number(number)
    found = (_table_by(indices, reader) for reader in indices.users)
    table = next((each for each in found if each is not None), None)
    if table is None or number is None or _is_float(indices):
        return None
    steps = ((operator_name(condition.node), number),)
    column = computed(steps, torch.arange(table.shape[0], dtype=torch.float32, device=table.device)[:, None])
    rows = condition.tracer.create_proxy(
        "call_function", rows_of_table, (fx.Proxy(indices, condition.tracer), constant(condition, column), None), {}
    )
    return aten.squeeze.dim(rows, -1)


def _table_by(indices: fx.Node, reader: fx.Node) -> Tensor | None:
    """The value of the table that a call looks up by these very indices."""
    if reader.target is rows_of_table and reader.args[0] is indices:
        table: Any = reader.args[1]
    elif operator_name(reader) == "embedding" and reader.args[1] is indices:
        table = reader.args[0]
    else:
        return None
    value: Tensor = table.meta["val"]
    return value


def moved(like: Any, x: Any) -> Any:
    """What the call that made ``like`` does to its first argument, done to another of the same shape; None of None."""
    if x is None:
        return None
    return x.tracer.create_proxy("call_function", like.node.target, (x, *like.node.args[1:]), dict(like.node.kwargs))


def two_values(node: fx.Node) -> tuple[fx.Node, Steps, float, float] | None:
    """Of a tensor that is one number or another: what decides, the chain to 1 and 0, both numbers; None of others."""
    for origin, steps in _origins(node):
        if steps and steps[0][0] == "where" and all(map(_is_filling, steps[0][2:])):
            there, elsewhere = computed(steps[1:], torch.tensor([steps[0][2][0][1], steps[0][3][0][1]])).tolist()
            return origin, steps[0][1], there, elsewhere
    return None


def whole_chain(node: fx.Node) -> tuple[fx.Node, Steps]:
    """A tensor, and all the functions of each number that lead from it to another one."""
    *_, farthest = _origins(node)
    return farthest


def _is_filling(chain: Steps) -> bool:
    return len(chain) == 1 and chain[0][0] == "fill"


def _parts(condition: Any) -> list[Any]:
    """The tensors that a condition is of."""
    return [fx.Proxy(each, condition.tracer) for each in condition.node.args if isinstance(each, fx.Node)]


def _is_real(x: fx.Proxy) -> bool:
    value = x.node.meta["val"]
    return isinstance(value, torch.Tensor) and value.dtype is torch.float32


def table_of(condition: Any, origin: fx.Node, steps: Steps) -> Any:
    return condition.tracer.create_proxy("call_function", in_one_table, (fx.Proxy(origin, condition.tracer), steps), {})


def origins_of_condition(node: fx.Node) -> _Origins:
    """Tensors that alone decide a condition, with the chains that make 1 and 0 of them; none of one of several."""
    name, args = operator_name(node), node.args
    if name in _RELATIONS:
        number = written_number(args[1])
        if number is None or not isinstance(args[0], fx.Node) or not _is_float(args[0]):
            return {}
        return {origin: (*steps, (name, number)) for origin, steps in _origins(args[0])}
    if name in _CONVERSIONS and isinstance(args[0], fx.Node) and _is_float(args[0]):
        return {origin: (*steps, ("ne", 0.0)) for origin, steps in _origins(args[0])}
    sources = [each for each in args if isinstance(each, fx.Node)]
    inner = [origins_of_condition(each) for each in sources]
    if name in _OPPOSITE:
        return {origin: (*steps, ("rsub", 1.0)) for origin, steps in inner[0].items()}
    if name not in _TOGETHER or len(inner) != 2:
        return {}
    one, none = ONES
    common = [origin for origin in inner[0] if origin in inner[1]]
    if "and" in name:
        return {origin: (("where", inner[0][origin], inner[1][origin], none),) for origin in common}
    return {origin: (("where", inner[0][origin], one, inner[1][origin]),) for origin in common}


def _origins(node: fx.Node) -> Iterator[tuple[fx.Node, Steps]]:
    """A tensor and what it is a function of each number of, with the chains from there."""
    chain: Steps = ()
    while True:
        yield node, chain
        steps, source = _steps(node), node.args[0] if node.args else None
        if operator_name(node) == "sub" and isinstance(source, int | float) and len(node.args) == 2:
            steps, source = (("rsub", float(source)),), node.args[1]
        if not steps or not isinstance(source, fx.Node):
            return
        node, chain = source, (*steps, *chain)


def steps_from(origin: fx.Node, x: Any) -> Steps | None:
    """The chain from a tensor to another, or to a number; None where none leads there."""
    number = written_number(x)
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


def written_number(x: Any) -> float | None:
    """The number that an operand is in the code itself, and not a buffer that may be loaded with another."""
    node = x.node if isinstance(x, fx.Proxy) else x
    if not isinstance(node, fx.Node):
        return float(x)
    found = _filling(node)
    return None if found.op == "get_attr" and not _is_literal(found) else _number_of_node(node)


def _is_literal(node: fx.Node) -> bool:
    """Whether a constant is one of code, which ``torch.export`` names, and no parameter or buffer."""
    return str(node.target).startswith("lifted_tensor_")


def constant_number(x: Any) -> float | None:
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
    if name == "mul" and isinstance(node.args[0], fx.Node) and isinstance(node.args[1], int | float):
        number = _number_of_node(node.args[0])
        return None if number is None else number * node.args[1]
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
