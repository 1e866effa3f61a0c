"""Functions that are computed in floats between codes of int8, as the table of 256 codes that they are.

TensorFlow's converter has no integer form of NEG, SQUARE, EXP, ELU and the like. It puts DEQUANTIZE before them and
QUANTIZE behind, in a file that is otherwise of integers: of Keras' LayerNormalization and GroupNormalization, for one.
Where all of it hangs on one number of int8, each of its codes has one result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.places import is_number_of_place
from export.tflite.equivalents.quantized_floats import codes_of, fit, in_steps, other_codes, rows_of_codes
from export.tflite.equivalents.tables import put_table
from export.tflite.file_data import FileContents, FileOperator

__all__ = ["moved_as_codes", "of_one_code", "parts_of_tables", "product", "quantized"]

_LOW, _HIGH = -128, 127
_EVERY = np.arange(_LOW, _HIGH + 1)
#: Operators between the codes and QUANTIZE, at most.
_MOST = 64
_ONE, _SIX = np.float32(1), np.float32(6)

#: Float32 operands and options to the result, in the kernel's order of operations.
_Function = Callable[[Sequence[np.ndarray], Mapping[str, Any]], np.ndarray]


def _of_double(function: Callable[[float], float]) -> _Function:
    """What a C library computes of float32: the double's result to the nearest, in all but a few cases in a thousand
    million; without a number where there is none."""

    def computed(arrays: Sequence[np.ndarray], options: Mapping[str, Any]) -> np.ndarray:
        return np.array([_or_nan(function, float(x)) for x in arrays[0].reshape(-1)], np.float32)

    return computed


def _or_nan(function: Callable[[float], float], x: float) -> float:
    try:
        return function(x)
    except (ValueError, OverflowError):
        return math.nan


_exponential = _of_double(math.exp)


def _logistic(arrays: Sequence[np.ndarray], options: Mapping[str, Any]) -> np.ndarray:
    """TFLM ``kernels/internal/reference/logistic.h``, whose ends are those of its constants."""
    (x,) = arrays
    inside = _ONE / (_ONE + _exponential([-x], options))
    low = np.where(x < np.float32(-9), _exponential([x], options), inside)
    return np.where(x > np.float32(16.619047164916992188), _ONE, low)


def _elu(arrays: Sequence[np.ndarray], options: Mapping[str, Any]) -> np.ndarray:
    (x,) = arrays
    return np.where(x < 0, _of_double(math.expm1)([np.minimum(x, 0)], options), x)


def _activated(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> _Function:
    """Arithmetic on two tensors with a fused activation."""

    def computed(arrays: Sequence[np.ndarray], options: Mapping[str, Any]) -> np.ndarray:
        result = function(arrays[0], arrays[1])
        limits = {0: (-np.inf, np.inf), 1: (0, np.inf), 2: (-1, 1), 3: (0, 6)}.get(
            options.get("FusedActivationFunction", 0)
        )
        if limits is None:
            raise _Unknown
        return np.minimum(np.maximum(result, np.float32(limits[0])), np.float32(limits[1]))

    return computed


#: Operators that give elements other places, and which of their inputs has these.
_MOVEMENTS = {
    "EXPAND_DIMS": 0, "RESHAPE": 0, "REVERSE_V2": 0, "SLICE": 0, "SPLIT": 1, "SPLIT_V": 0, "SQUEEZE": 0,
    "STRIDED_SLICE": 0, "TRANSPOSE": 0, "UNPACK": 0,
}  # fmt: skip


class _Unknown(Exception):
    """What a tensor is made of is no function of one code."""


#: TFLM's float kernels, of each number by itself.
_FUNCTIONS: Mapping[str, _Function] = {
    "ABS": lambda arrays, options: np.abs(arrays[0]),
    "ADD": _activated(np.add),
    "CEIL": lambda arrays, options: np.ceil(arrays[0]),
    "COS": _of_double(math.cos),
    "DIV": _activated(np.divide),
    "ELU": _elu,
    "EXP": _exponential,
    "FLOOR": lambda arrays, options: np.floor(arrays[0]),
    "HARD_SWISH": lambda arrays, options: arrays[0] * np.clip(arrays[0] + np.float32(3), 0, _SIX) / _SIX,
    "LEAKY_RELU": lambda arrays, options: np.where(
        arrays[0] > 0, arrays[0], arrays[0] * np.float32(options.get("Alpha", 0))
    ),
    "LOG": _of_double(math.log),
    "LOGISTIC": _logistic,
    "MAXIMUM": lambda arrays, options: np.maximum(arrays[0], arrays[1]),
    "MINIMUM": lambda arrays, options: np.minimum(arrays[0], arrays[1]),
    "MUL": _activated(np.multiply),
    "NEG": lambda arrays, options: -arrays[0],
    "RELU": lambda arrays, options: np.maximum(arrays[0], np.float32(0)),
    "RELU6": lambda arrays, options: np.clip(arrays[0], 0, _SIX),
    "ROUND": lambda arrays, options: np.rint(arrays[0]),
    "RSQRT": lambda arrays, options: _ONE / np.sqrt(arrays[0]),
    "SIN": _of_double(math.sin),
    "SQRT": lambda arrays, options: np.sqrt(arrays[0]),
    "SQUARE": lambda arrays, options: arrays[0] * arrays[0],
    "SQUARED_DIFFERENCE": lambda arrays, options: (arrays[0] - arrays[1]) * (arrays[0] - arrays[1]),
    "SUB": _activated(np.subtract),
    "TANH": _of_double(math.tanh),
}  # fmt: skip


def quantized(draft: Draft, operator: FileOperator) -> None:
    """QUANTIZE of floats that hang on one number of int8: a table; any other stays as it is.

    Raises:
        ValueError: a code's result is no number that an integer holds, and what QUANTIZE makes of it is undefined.
    """
    (source,), (output,) = operator.inputs, operator.outputs
    found = _function(draft, operator)
    if found is None:
        if not (rows_of_codes(draft, operator) or other_codes(draft, operator)):
            draft.operators.append(operator)
        return
    codes, values = found.codes, found.values
    steps = in_steps(values, draft.tensors[output])
    wrong = ~fit(steps)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"code {_EVERY[at]} of {draft.words(codes)} becomes {values[at]:g} in {draft.words(source)}, of which C "
            "does not say what integer it is: each processor may have another"
        )
    table = codes_of(steps, draft.tensors[output])
    if draft.tensors[codes].grid == draft.tensors[output].grid and (table == _EVERY).all():
        draft.reshape(codes, output)
    else:
        put_table(draft, codes, table.astype(np.int8), output)


def moved_as_codes(draft: Draft, operator: FileOperator) -> FileOperator | None:
    """An operator that moves floats which DEQUANTIZE made, on the codes themselves, as GRU is written out; what has to
    be put behind it is DEQUANTIZE of each of its outputs. ``None`` of any other.
    """
    at = _MOVEMENTS.get(operator.name, -1)
    if not 0 <= at < len(operator.inputs) or -1 in (operator.inputs[at], *operator.outputs):
        return None
    if any(draft.tensors[each].dtype != "float32" for each in (operator.inputs[at], *operator.outputs)):
        return None
    makers = [each for each in draft.operators if operator.inputs[at] in each.outputs and each.name == "DEQUANTIZE"]
    if not makers:
        return None
    (codes,) = makers[0].inputs
    if draft.tensors[codes].dtype not in ("int8", "int16") or draft.data(codes) is not None:
        return None
    inputs = (*operator.inputs[:at], codes, *operator.inputs[at + 1 :])
    moved = tuple(draft.computed(codes, draft.shape(each)) for each in operator.outputs)
    return replace(operator, inputs=inputs, outputs=moved)


def of_one_code(draft: Draft, pair: Sequence[int]) -> tuple[int, list[np.ndarray]] | None:
    """The int8 tensor whose number alone two float ones hang on, and both for each of its codes."""
    return _Cone(draft, moved=False).together(pair)


def parts_of_tables(contents: FileContents) -> frozenset[int]:
    """Numbers of the operators of a file's first subgraph that compute in floats for tables alone, or write places."""
    draft = Draft(contents)
    draft.operators = list(draft.entry.operators)
    found = {each.number: _function(draft, each, moved=True) for each in draft.operators if each.name == "QUANTIZE"}
    tables = {number: function for number, function in found.items() if function is not None}
    parts = {number for function in tables.values() for number in function.parts}
    readers: dict[int, set[int]] = {}
    for operator in draft.operators if parts else ():
        for index in operator.inputs:
            readers.setdefault(index, set()).add(operator.number)
    for operator in [each for each in reversed(draft.operators) if each.number in parts]:
        reading = set().union(*(readers.get(index, ()) for index in operator.outputs))
        if not reading <= parts | tables.keys() or {*operator.outputs} & {*draft.entry.outputs}:
            parts.discard(operator.number)
    return frozenset(parts | {each.number for each in draft.operators if _is_sound_number(draft, each)})


def _is_sound_number(draft: Draft, operator: FileOperator) -> bool:
    """Whether CAST writes places; a file that nobody has looked at yet may leave operands out."""
    try:
        return is_number_of_place(draft, operator)
    except (IndexError, ValueError):
        return False


def product(draft: Draft, operator: FileOperator) -> None:
    """NEG and SQUARE of floats, as the product that has the same bits."""
    (source,), (output,) = operator.inputs, operator.outputs
    if draft.tensors[source].dtype != "float32" or draft.tensors[output].dtype != "float32":
        draft.operators.append(operator)
        return
    other = source
    if operator.name == "NEG":
        other = draft.constant(np.full((1,) * max(1, len(draft.shape(source))), -1, np.float32))
    draft.put("MUL", [source, other], [output], "MulOptions", {"FusedActivationFunction": 0})


class _Table(NamedTuple):
    """The int8 tensor that a float one is a function of, its result for every code, and the operators between."""

    codes: int
    values: np.ndarray
    parts: frozenset[int]


def _function(draft: Draft, operator: FileOperator, *, moved: bool = False) -> _Table | None:
    """What QUANTIZE makes integers of, where it hangs on one number of int8; that may be ``moved`` to another place."""
    if len(operator.inputs) != 1 or len(operator.outputs) != 1 or -1 in (*operator.inputs, *operator.outputs):
        return None
    (source,), made = operator.inputs, draft.tensors[operator.outputs[0]]
    if draft.tensors[source].dtype != "float32" or made.dtype != "int8":
        return None
    if len(made.scale) != 1 or len(made.zero_point) != 1:
        return None
    return _Cone(draft, moved).function(source)


class _Cone:
    """What floats are made of."""

    def __init__(self, draft: Draft, moved: bool) -> None:
        self.draft, self.moved = draft, moved
        self.makers = {each: operator for operator in draft.operators for each in operator.outputs}
        self.known: dict[int, np.ndarray] = {}
        self.codes: set[int] = set()
        self.parts: set[int] = set()
        self.open: set[int] = set()

    def function(self, tensor: int) -> _Table | None:
        """Of one number of int8; ``None`` of any other float tensor."""
        found = self.together([tensor])
        return None if found is None else _Table(found[0], found[1][0], frozenset(self.parts))

    def together(self, tensors: Sequence[int]) -> tuple[int, list[np.ndarray]] | None:
        """Of one number of int8, all of them; those of constants among them are spread over its shape."""
        try:
            with np.errstate(all="ignore"):
                values = [self._values(tensor) for tensor in tensors]
        # A file that nobody has looked at yet may leave operands out, and constants cut off.
        except (_Unknown, IndexError, ValueError):
            return None
        if len(self.codes) != 1:
            return None
        (codes,) = self.codes
        shape = np.broadcast_shapes(*map(self.draft.shape, tensors))
        if not self.moved and self.draft.shape(codes) != shape:
            return None
        return codes, [np.broadcast_to(each, _EVERY.shape) for each in values]

    def _values(self, tensor: int) -> np.ndarray:
        """Of each code; a single one of a constant."""
        if tensor not in self.known:
            # Nor need its operators have an order.
            if tensor < 0 or tensor in self.open or len(self.open) > _MOST:
                raise _Unknown
            self.open.add(tensor)
            self.known[tensor] = self._computed(tensor).astype(np.float32)
            self.open.discard(tensor)
        return self.known[tensor]

    def _computed(self, tensor: int) -> np.ndarray:
        data = self.draft.data(tensor)
        if data is not None:
            alike = np.unique(data)
            if data.dtype != np.float32 or len(alike) != 1:
                raise _Unknown
            return alike
        maker = self.makers.get(tensor)
        if maker is None or self.draft.tensors[tensor].dtype != "float32":
            raise _Unknown
        self.parts.add(maker.number)
        if maker.name in ("DEQUANTIZE", "CAST"):
            return self._of_codes(maker)
        if self.moved and maker.name in _MOVEMENTS:
            return self._values(maker.inputs[_MOVEMENTS[maker.name]])
        if maker.name not in _FUNCTIONS or -1 in maker.inputs:
            raise _Unknown
        return _FUNCTIONS[maker.name]([self._values(each) for each in maker.inputs], maker.options)

    def _of_codes(self, maker: FileOperator) -> np.ndarray:
        """Numbers for codes, as DEQUANTIZE has them: multiplied in double. CAST takes codes for numbers."""
        (source,) = maker.inputs
        tensor = self.draft.tensors[source]
        cast = maker.name == "CAST"
        # Answers, which are codes of 0 and 1 here, have no scale in the file.
        fits = tensor.dtype == "int8" and (cast or len(tensor.scale) == len(tensor.zero_point) == 1)
        # Of places too; where they are read, they are codes already.
        fits = fits or is_number_of_place(self.draft, maker)
        if not (fits or (cast and tensor.dtype == "bool")) or self.draft.data(source) is not None:
            raise _Unknown
        self.codes.add(source)
        if cast:
            return _EVERY.astype(np.float32)
        return (tensor.scale[0] * (_EVERY - tensor.zero_point[0])).astype(np.float32)
