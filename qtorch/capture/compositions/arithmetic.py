"""Arithmetic of tensors as sums, differences, products and functions of one tensor."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from qtorch.capture.compositions.broadcasts import BROADCASTING
from qtorch.capture.compositions.conditions import as_ones, is_condition, written_number
from qtorch.capture.compositions.known_values import known_value, same_for_all
from qtorch.capture.compositions.masks import added_mask
from qtorch.capture.compositions.table import (
    decomposes,
    is_constant,
    result_shape,
    same_shape,
    shape_of,
    writer_of,
)
from qtorch.capture.nodes import is_zeros, operator_name
from qtorch.families.functions_of_one_number import Steps, in_one_table

aten = torch.ops.aten


def _product(x: Any, factor: Any) -> Any:
    """``x`` times a number or a tensor; ``x`` itself where the factor is one."""
    if isinstance(x, int | float) and isinstance(factor, int | float):
        return x * factor
    return x if isinstance(factor, int | float) and factor == 1 else aten.mul.Tensor(x, factor)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float)


@decomposes("div")
def _div(input: Any, other: Any, rounding_mode: str | None = None) -> Any:
    """A product with the reciprocal, of which that of a number or of a constant is computed once."""
    if rounding_mode is not None:
        whole = {"floor": aten.floor.default, "trunc": aten.trunc.default}[rounding_mode]
        return whole(aten.mul.Tensor(input, 1 / other)) if _is_number(other) and other else None
    if not (_is_number(other) or _is_tensor(other)):
        return None
    if _is_number(other):
        return aten.mul.Tensor(input, 1 / other) if other else None
    return _product(aten.reciprocal.default(other), input)


@decomposes("floor_divide")
def _floor_divide(input: Any, other: Any) -> Any:
    return _div(input, other, "floor")


@decomposes("pow")
def _power_of_a_number(input: Any, exponent: Any) -> Any:
    """A number to the power of each."""
    if not _is_number(input) or input <= 0:
        return None
    return aten.exp.default(aten.mul.Tensor(exponent, math.log(input)))


@decomposes("pow")
def _power_by_a_tensor(input: Any, exponent: Any) -> Any:
    """By way of logarithms; whole powers are of numbers below zero too, which have none."""
    known = None if _is_number(exponent) else known_value(exponent)
    if _is_number(input) or _is_number(exponent) or (known is not None and bool((known == known.round()).any())):
        return None
    return aten.exp.default(aten.mul.Tensor(aten.log.default(input), exponent))


@decomposes("float_power")
def _float_power(input: Any, exponent: Any) -> Any:
    """Of float32, as everything here."""
    return aten.pow.Tensor_Scalar(input, exponent) if _is_number(exponent) else aten.pow.Tensor_Tensor(input, exponent)


@decomposes("xlogy")
def _xlogy(input: Any, other: Any) -> Any:
    """0 where ``input`` is 0, which only a number is known to be."""
    return _product(aten.log.default(other), input) if _is_number(input) and input else None


@decomposes("ldexp")
def _ldexp(input: Any, other: Any) -> Any:
    return _product(input, aten.exp2.default(other))


@decomposes("heaviside")
def _heaviside(input: Any, values: Any) -> Any:
    """1 above 0, and a number at 0."""
    number = written_number(values)
    if number is None:
        return None
    at_zero: Steps = (("where", (("eq", 0.0),), (("fill", number),), (("fill", 0.0),)),)
    steps: Steps = (("where", (("gt", 0.0),), (("fill", 1.0),), at_zero),)
    return writer_of(input).create_proxy("call_function", in_one_table, (input, steps), {})


@decomposes("isnan", "isinf")
def _is_no_number(input: Any) -> Any:
    """False: no code stands for such a number."""
    return aten.gt.Scalar(input, math.inf)


@decomposes("isfinite")
def _is_finite(input: Any) -> Any:
    return aten.le.Scalar(input, math.inf)


@decomposes("deg2rad")
def _radians(input: Any) -> Any:
    return aten.mul.Tensor(input, math.pi / 180)


@decomposes("rad2deg")
def _degrees(input: Any) -> Any:
    return aten.mul.Tensor(input, 180 / math.pi)


@decomposes("special_ndtr")
def _normal_distribution(input: Any) -> Any:
    return aten.mul.Tensor(aten.add.Tensor(aten.erf.default(aten.mul.Tensor(input, math.sqrt(0.5))), 1), 0.5)


@decomposes("hypot")
def _hypot(input: Any, other: Any) -> Any:
    return aten.sqrt.default(aten.add.Tensor(aten.mul.Tensor(input, input), aten.mul.Tensor(other, other)))


@decomposes("logaddexp")
def _logaddexp(input: Any, other: Any) -> Any:
    """The larger one, and what the other one adds to it, at most the logarithm of 2."""
    apart = aten.neg.default(aten.abs.default(aten.sub.Tensor(input, other)))
    return aten.add.Tensor(aten.maximum.default(input, other), aten.log1p.default(aten.exp.default(apart)))


def _is_tensor(x: fx.Proxy) -> bool:
    """Whether an operand is a tensor, not a size that is computed."""
    return isinstance(x.node.meta["val"], torch.Tensor)


@decomposes("mul")
def _mul(input: Any, other: Any) -> Any:
    """A number's sign times its size, which a pooling of powers takes of its mean, is the number; a number times what
    is the same for every sample is so too.
    """
    if _is_number(other):
        same = same_for_all(input)
        if same is input or not is_constant(same):
            return None
        whole: Any = input.node.args[1]
        sizes = [fx.Proxy(each, input.tracer) if isinstance(each, fx.Node) else each for each in whole]
        return aten.expand.default(aten.mul.Tensor(same, other), sizes)
    if not isinstance(input, fx.Proxy) or not isinstance(other, fx.Proxy):
        return None
    size: Any = other.node.args[0] if operator_name(other.node) == "relu" else other.node
    if operator_name(input.node) != "sign" or operator_name(size) != "abs":
        return None
    number: Any = input.node.args[0]
    return fx.Proxy(number, input.tracer) if size.args[0] is number else None


def _is_nothing(x: Any, other: Any) -> bool:
    """Whether a tensor is zeros, to which another one of the result's shape is added: a sum's first value."""
    if not isinstance(x, fx.Proxy) or not isinstance(other, fx.Proxy):
        return False
    return is_zeros(x.node) and same_shape(shape_of(other), result_shape(other))


@decomposes("add")
def _add(input: Any, other: Any, alpha: Any = 1) -> Any:
    if alpha == 1 and (_is_nothing(input, other) or _is_nothing(other, input)):
        return other if _is_nothing(input, other) else input
    if alpha != 1 or is_condition(input) or is_condition(other):
        return _of_numbers(aten.add.Tensor, input, other, alpha)
    scores = _with_mask(input, other)
    return _with_mask(other, input) if scores is None else scores


def _with_mask(scores: Any, mask: Any) -> Any:
    """A sum with a mask some of whose numbers forbid what a softmax reads; None of other sums."""
    if not all(isinstance(each, fx.Proxy) for each in (scores, mask)) or is_constant(scores):
        return None
    return added_mask(scores, mask)


@decomposes("sub")
def _sub(input: Any, other: Any, alpha: Any = 1) -> Any:
    if alpha == 1 and _is_nothing(input, other):
        return aten.neg.default(other)
    if _is_nothing(other, input):
        return input
    return _of_numbers(aten.sub.Tensor, input, other, alpha)


def _of_numbers(operator: Any, input: Any, other: Any, alpha: Any) -> Any:
    """A sum or difference with a factor, or with a condition."""
    if alpha == 1 and not is_condition(input) and not is_condition(other):
        return None
    first, second = as_ones(input), as_ones(other)
    return None if first is None or second is None else operator(first, _product(second, alpha))


@decomposes("rsub")
def _rsub(input: Any, other: Any, alpha: Any = 1) -> Any:
    return aten.sub.Tensor(other, _product(input, alpha))


@decomposes("addcmul")
def _addcmul(input: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return aten.add.Tensor(input, _product(aten.mul.Tensor(tensor1, tensor2), value))


@decomposes("addcdiv")
def _addcdiv(input: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Any:
    return aten.add.Tensor(input, _product(aten.div.Tensor(tensor1, tensor2), value))


@decomposes("lerp")
def _lerp(input: Any, end: Any, weight: Any) -> Any:
    return aten.add.Tensor(input, _product(aten.sub.Tensor(end, input), weight))


@decomposes("clamp", "clamp_min", "clamp_max")
def _clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """Of limits that are tensors; numbers stay."""
    if not isinstance(min, fx.Proxy) and not isinstance(max, fx.Proxy):
        return None
    low = input if min is None else aten.maximum.default(input, min)
    return low if max is None else aten.minimum.default(low, max)


@decomposes("rrelu")
def _rrelu(input: Any, lower: float, upper: float, training: bool = False) -> Any:
    return None if training else aten.leaky_relu.default(input, (lower + upper) / 2)


#: Operators that take one sample of what is the same for every sample.
_PUTTING_SIDE_BY_SIDE = ("cat", "slice_scatter", "select_scatter", "diagonal_scatter", "index_put")


@decomposes("full", "full_like", "new_full", "new_ones", "new_zeros", "ones", "ones_like", "zeros", "zeros_like")
def _filled(
    input: Any = None,
    size: Any = None,
    fill_value: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: Any = None,
    memory_format: Any = None,
) -> Any:
    """A constant of one sample, expanded to the batch's size; zeros, and a number behind them, where that needs one.

    Zeros of the batch's size are a product with an input, see :mod:`qtorch.preparation.start_states`.
    """
    if isinstance(input, fx.Proxy) and size is not None and all(isinstance(length, int) for length in size):
        # Of the input it has the type alone.
        return _constant_like(input, size, fill_value)
    like: Any = input if size is None else next((length for length in size if isinstance(length, fx.Proxy)), None)
    shape = () if like is None else result_shape(like)
    if not shape or isinstance(shape[0], int) or any(not isinstance(length, int) for length in shape[1:]):
        return None
    origin = writer_of(like).origin
    value = fill_value if fill_value is not None else float("ones" in str(operator_name(origin)))
    if not _is_number(value) or not value:
        return None
    whole = aten.sym_size.int(like, 0) if size is None else size[0]
    result = origin.meta["val"]
    named = {"dtype": result.dtype, "device": result.device}
    if not all(operator_name(reader) in (*BROADCASTING, *_PUTTING_SIDE_BY_SIDE) for reader in origin.users):
        zeros = writer_of(like).create_proxy("call_function", aten.zeros.default, ([whole, *shape[1:]],), named)
        return aten.add.Scalar(zeros, value)
    sample = writer_of(like).create_proxy("call_function", aten.full.default, ([1, *shape[1:]], value), named)
    return aten.expand.default(sample, [whole, *shape[1:]])


def _constant_like(input: Any, size: Any, fill_value: Any) -> Any:
    writer = writer_of(input)
    result = writer.origin.meta["val"]
    value = fill_value if fill_value is not None else int("ones" in str(operator_name(writer.origin)))
    if isinstance(value, fx.Proxy) and operator_name(value.node) == "item":
        held = known_value(fx.Proxy(value.node.args[0], writer))  # type: ignore[arg-type]
        value = None if held is None else held.item()
    if not _is_number(value):
        return None
    named = {"dtype": result.dtype, "device": result.device}
    return writer.create_proxy("call_function", aten.full.default, (list(size), value), named)
