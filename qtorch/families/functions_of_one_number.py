"""Functions of each number alone: what PyTorch calls them, with which arguments, and what they compute.

One list, by their names among PyTorch's ATen operators. A chain of them is a tuple of steps, each a name and the
function's arguments as plain numbers or words: ``(("add", 1.0), ("log",), ("elu", 0.5))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from qtorch.row.row import Call, Match, Refused

__all__ = [
    "BESIDE",
    "FUNCTIONS",
    "REQUIRED",
    "Function",
    "Steps",
    "computed",
    "in_one_table",
    "matches_of",
    "steps_of_table",
    "within_factors",
]

#: A chain of functions: each one's name in :data:`FUNCTIONS`, and its arguments in that order.
Steps = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Function:
    """One function of each number alone.

    Attributes:
        compute: from a tensor, float32 or float64 of any shape, and the arguments.
        arguments: names of the arguments after the tensor, the same in ATen's schema, in functions, and as a module's
            attributes.
        defaults: of the arguments, as many; one without is :data:`REQUIRED`.
        module: the layer that computes it.
        written: the function, where it is none of ATen's operators but is composed of some.
        homogeneous: whether ``f(s x) = s f(x)`` for ``s > 0``.
    """

    compute: Callable[..., Tensor]
    arguments: tuple[str, ...] = ()
    defaults: tuple[Any, ...] = ()
    module: type[nn.Module] | None = None
    written: Callable[..., Tensor] | None = None
    homogeneous: bool = False


#: Of an argument that has to be given.
REQUIRED = object()

#: By their ATen names; ``softsign`` and ``tanhshrink``, which are none of its operators, by the layers'.
FUNCTIONS: Mapping[str, Function] = {
    "gelu": Function(lambda x, form: F.gelu(x, approximate=form), ("approximate",), ("none",), nn.GELU),
    "silu": Function(F.silu, module=nn.SiLU),
    "mish": Function(F.mish, module=nn.Mish),
    "elu": Function(F.elu, ("alpha",), (1.0,), nn.ELU),
    "selu": Function(F.selu, module=nn.SELU),
    "celu": Function(F.celu, ("alpha",), (1.0,), nn.CELU),
    "softplus": Function(F.softplus, ("beta", "threshold"), (1.0, 20.0), nn.Softplus),
    "softsign": Function(F.softsign, module=nn.Softsign, written=F.softsign),
    "log_sigmoid": Function(F.logsigmoid, module=nn.LogSigmoid),
    "hardsigmoid": Function(F.hardsigmoid, module=nn.Hardsigmoid),
    "hardtanh": Function(F.hardtanh, ("min_val", "max_val"), (-1.0, 1.0), nn.Hardtanh),
    "clamp": Function(torch.clamp, ("min", "max"), (None, None)),
    "clamp_min": Function(torch.clamp_min, ("min",), (REQUIRED,)),
    "clamp_max": Function(torch.clamp_max, ("max",), (REQUIRED,)),
    "threshold": Function(F.threshold, ("threshold", "value"), (REQUIRED, REQUIRED), nn.Threshold),
    "hardshrink": Function(F.hardshrink, ("lambd",), (0.5,), nn.Hardshrink),
    "softshrink": Function(F.softshrink, ("lambd",), (0.5,), nn.Softshrink),
    "tanhshrink": Function(F.tanhshrink, module=nn.Tanhshrink, written=F.tanhshrink),
    "exp": Function(torch.exp),
    "exp2": Function(torch.exp2),
    "expm1": Function(torch.expm1),
    "log": Function(torch.log),
    "log2": Function(torch.log2),
    "log10": Function(torch.log10),
    "log1p": Function(torch.log1p),
    "sqrt": Function(torch.sqrt),
    "reciprocal": Function(torch.reciprocal),
    "square": Function(torch.square),
    "pow": Function(torch.pow, ("exponent",), (REQUIRED,)),
    "sin": Function(torch.sin),
    "cos": Function(torch.cos),
    "tan": Function(torch.tan),
    "asin": Function(torch.asin),
    "acos": Function(torch.acos),
    "atan": Function(torch.atan),
    "sinh": Function(torch.sinh),
    "cosh": Function(torch.cosh),
    "asinh": Function(torch.asinh),
    "acosh": Function(torch.acosh),
    "atanh": Function(torch.atanh),
    "erf": Function(torch.erf),
    "erfc": Function(torch.erfc),
    "erfinv": Function(torch.erfinv),
    "special_erfcx": Function(torch.special.erfcx),
    "special_log_ndtr": Function(torch.special.log_ndtr),
    "special_ndtri": Function(torch.special.ndtri),
    "special_entr": Function(torch.special.entr),
    "logit": Function(torch.logit, ("eps",), (None,)),
    "lgamma": Function(torch.lgamma),
    "digamma": Function(torch.digamma),
    "i0": Function(torch.i0),
    "special_i0e": Function(torch.special.i0e),
    "special_i1": Function(torch.special.i1),
    "special_i1e": Function(torch.special.i1e),
    "sinc": Function(torch.sinc),
    "abs": Function(torch.abs, homogeneous=True),
    "neg": Function(torch.neg, homogeneous=True),
    "sign": Function(torch.sign),
    "floor": Function(torch.floor),
    "ceil": Function(torch.ceil),
    "trunc": Function(torch.trunc),
    "frac": Function(torch.frac),
    "round": Function(lambda x, decimals: torch.round(x, decimals=int(decimals)), ("decimals",), (0,)),
    "remainder": Function(torch.remainder, ("other",), (REQUIRED,)),
    "fmod": Function(torch.fmod, ("other",), (REQUIRED,)),
    "nan_to_num": Function(torch.nan_to_num, ("nan", "posinf", "neginf"), (None, None, None)),
}


def _level(x: Tensor) -> Tensor:
    """Zeros that have a slope, of 0, as whoever asks for the slope of a jump expects."""
    return torch.sign(x) * 0


def _compared(relation: Callable[[Tensor, float], Tensor]) -> Function:
    return Function(lambda x, other: relation(x, other).to(x.dtype) + _level(x), ("other",), (REQUIRED,))


def _chosen(x: Tensor, condition: Steps, here: Steps, elsewhere: Steps) -> Tensor:
    return torch.where(computed(condition, x) != 0, computed(here, x), computed(elsewhere, x))


#: Functions that rows of their own compute where they stand alone, numbers that are added or multiplied, comparisons
#: with a number, whose results are 1 and 0, and a choice between two chains by a third: steps of a chain beside one of
#: :data:`FUNCTIONS`.
BESIDE: Mapping[str, Function] = {
    "relu": Function(F.relu, homogeneous=True),
    "relu6": Function(F.relu6),
    "leaky_relu": Function(F.leaky_relu, ("negative_slope",), (0.01,), homogeneous=True),
    "hardswish": Function(F.hardswish),
    "sigmoid": Function(torch.sigmoid),
    "tanh": Function(torch.tanh),
    "add": Function(lambda x, other: x + other, ("other",), (REQUIRED,)),
    "sub": Function(lambda x, other: x - other, ("other",), (REQUIRED,)),
    "rsub": Function(lambda x, other: other - x, ("other",), (REQUIRED,)),
    "mul": Function(lambda x, other: x * other, ("other",), (REQUIRED,), homogeneous=True),
    "gt": _compared(torch.gt),
    "ge": _compared(torch.ge),
    "lt": _compared(torch.lt),
    "le": _compared(torch.le),
    "eq": _compared(torch.eq),
    "ne": _compared(torch.ne),
    "fill": Function(lambda x, value: _level(x) + value, ("value",), (REQUIRED,)),
    "where": Function(_chosen, ("condition", "here", "elsewhere"), (REQUIRED,) * 3),
}


def computed(steps: Steps, x: Tensor) -> Tensor:
    """A chain's result for each number, in the precision of ``x``."""
    for name, *arguments in steps:
        function = FUNCTIONS.get(name) or BESIDE[name]
        x = function.compute(x, *arguments)
    return x


def in_one_table(input: Tensor, steps: Steps) -> Tensor:
    """A chain's result for each number; one op on the device."""
    if has_torch_function((input,)):
        # One call to whoever looks, as a function of torch is.
        return handle_torch_function(in_one_table, (input,), input, steps)
    return computed(steps, input)


def steps_of_table(call: Call) -> dict[str, Any]:
    """Of :func:`in_one_table`."""
    return {"steps": _plain(call.get("steps"))}


def _plain(steps: Any) -> Any:
    return tuple(_plain(each) for each in steps) if isinstance(steps, tuple | list) else steps


def within_factors(steps: Steps) -> bool:
    """Whether ``f(s x) = s f(x)`` for ``s > 0``."""
    return all((FUNCTIONS.get(name) or BESIDE[name]).homogeneous for name, *_ in steps)


def matches_of(name: str) -> Iterator[Match]:
    """One function in PyTorch, as a layer and as a call, for a row whose attribute ``steps`` is a chain."""
    function = FUNCTIONS[name]

    def attributes(call: Call) -> dict[str, Any]:
        return {"steps": ((name, *_arguments(call, function)),)}

    if function.module is not None:
        yield Match("module", function.module, attributes)
    if function.written is None:
        yield Match("aten", name, attributes)
    else:
        yield Match("function", function.written, attributes, ("input", *function.arguments))


def _arguments(call: Call, function: Function) -> Iterator[Any]:
    for name, default in zip(function.arguments, function.defaults, strict=True):
        value = call.get(name, default)
        value = default if value is None else value
        if value is REQUIRED or not (value is None or isinstance(value, int | float | str)):
            raise Refused(expected=f"a number for {name}", got="none" if value is REQUIRED else str(value), remedy="")
        if isinstance(value, float) and math.isnan(value):
            raise Refused(expected=f"a number for {name}", got="NaN", remedy="")
        yield value if value is None or isinstance(value, str) else float(value)
