"""Comparisons of int8, what is made of their answers, and choices by them, in operators of codes.

An answer is a code: 1, or 0. Each input's codes have an order, that of the numbers which the kernel rescales them to
and compares (TFLM ``micro/kernels/comparisons.cc``), so that "greater than that code" is "at least this code": a table
puts the code of one input in the place of each of the other's, and the sign of a difference says which is greater.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema

from export.tflite.equivalents.draft import Draft
from export.tflite.equivalents.float_functions import of_one_code
from export.tflite.equivalents.quantized_floats import dequantized
from export.tflite.equivalents.ranks import with_equal_ranks
from export.tflite.equivalents.tables import put_table
from export.tflite.file_data import FileContents, FileOperator, FileTensor
from qtorch.numbers.fixedpoint import quantize_multiplier, requantize

__all__ = ["COMPARISONS", "both", "chosen", "compared", "either", "every", "neither", "with_answers_as_codes"]

_LOW, _HIGH = -128, 127
_EVERY = np.arange(_LOW, _HIGH + 1)
#: Of the kernels' sums, by which codes less their zero points are shifted before they are rescaled.
_SHIFT = 8


def with_answers_as_codes(contents: FileContents) -> FileContents:
    """The file with int8 codes of 0 and 1 where operators make bool, but for CAST: its kernel asks what is not 0."""
    entry, *others = contents.subgraphs
    taken = {*entry.inputs, *(index for each in entry.operators if each.name == "CAST" for index in each.outputs)}
    if not any(_is_answer(tensor, taken) for tensor in entry.tensors):
        return contents
    tensors = tuple(
        replace(each, kind=schema.TensorType.INT8, scale=(1.0,), zero_point=(0,), axis=None)
        if _is_answer(each, taken)
        else each
        for each in entry.tensors
    )
    return replace(contents, subgraphs=(replace(entry, tensors=tensors), *others))


def _is_answer(tensor: FileTensor, taken: set[int]) -> bool:
    return tensor.dtype == "bool" and tensor.index not in taken and not tensor.variable


#: Which input comes first, and whether it has to be more; with both ways round, EQUAL and its opposite.
COMPARISONS: Mapping[str, tuple[bool, bool]] = {
    "GREATER": (True, True),
    "GREATER_EQUAL": (True, False),
    "LESS": (False, True),
    "LESS_EQUAL": (False, False),
}
_ON_NUMBERS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "NOT_EQUAL": np.not_equal,
}
#: Of what is tested of a difference, what is tested of the opposite difference.
_OPPOSITE = {"GREATER": "LESS", "GREATER_EQUAL": "LESS_EQUAL", "LESS": "GREATER"}


def compared(draft: Draft, operator: FileOperator) -> None:
    """EQUAL, NOT_EQUAL, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL of int8, and of floats that int8 became."""
    (output,), pair = operator.outputs, operator.inputs
    kinds = {draft.tensors[index].dtype for index in pair}
    if kinds == {"float32"} and (answered := of_one_code(draft, pair)) is not None:
        codes, values = answered
        put_table(draft, codes, _ON_NUMBERS[operator.name](*values).astype(np.int8), output)
        return
    if kinds == {"float32"}:
        found = [dequantized(draft, index) for index in pair]
        pair = tuple(index for index in found if index is not None)
    elif len(pair) != 2 or kinds != {"int8"}:
        pair = ()
    if len(pair) != 2:
        raise ValueError(f"{', '.join(map(draft.words, operator.inputs))}: comparisons of int8 alone are known here")
    numbers = [_numbers(draft, index) if kinds == {"int8"} else _floats(draft, index) for index in pair]
    for place, index in enumerate(pair):
        data, other = draft.data(index), pair[1 - place]
        if data is not None and len(np.unique(data)) == 1 and draft.shape(other) == draft.shape(output):
            given = numbers[place][int(data.reshape(-1)[0]) - _LOW]
            ordered = (given, numbers[1]) if place == 0 else (numbers[0], given)
            put_table(draft, other, _ON_NUMBERS[operator.name](*ordered).astype(np.int8), output)
            return
    if operator.name in COMPARISONS:
        in_order, strict = COMPARISONS[operator.name]
        ways = [(0, 1)] if in_order else [(1, 0)]
    else:
        strict, ways = operator.name == "NOT_EQUAL", [(0, 1), (1, 0)]
    answers = [output] if len(ways) == 1 else [draft.computed(output, draft.shape(output)) for _ in ways]
    for (one, other), answer in zip(ways, answers, strict=True):
        _put_order(draft, (pair[one], pair[other]), (numbers[one], numbers[other]), strict, answer)
    if len(answers) > 1:
        _put_both(draft, "MAXIMUM" if strict else "MINIMUM", answers[0], answers[1], output)


def _numbers(draft: Draft, index: int) -> np.ndarray:
    """What a kernel compares, for every code of a tensor: in the codes' order, some alike."""
    tensor = draft.tensors[index]
    if len(tensor.scale) != 1 or not tensor.scale[0] < 1:
        raise ValueError(f"{draft.words(index)} with scales {tensor.scale}: expected one below 1, as TFLite Micro asks")
    multiplier = quantize_multiplier(torch.tensor(tensor.scale[0], dtype=torch.float64))
    wide = torch.from_numpy((_EVERY - tensor.zero_point[0]) << _SHIFT)
    return requantize(wide, multiplier).numpy()


def _floats(draft: Draft, index: int) -> np.ndarray:
    """What DEQUANTIZE makes of every code."""
    tensor = draft.tensors[index]
    return (tensor.scale[0] * (_EVERY - tensor.zero_point[0])).astype(np.float32)


def _put_order(
    draft: Draft, pair: tuple[int, int], numbers: tuple[np.ndarray, np.ndarray], strict: bool, output: int
) -> None:
    """Whether the first's number is more than the second's, or as much too unless ``strict``."""
    (one, other), (ones, others) = pair, numbers
    data = draft.data(other)
    codes = _EVERY if data is None else np.unique(data).astype(np.int64)
    # The first's least code that is more, for each of the second's: 128 where none is.
    least = np.searchsorted(ones, others, "right" if strict else "left") + _LOW
    occurring = least[codes - _LOW]
    if occurring.max() <= _HIGH:
        _put_sign(draft, one, _replaced(draft, other, least, one), output, "GREATER_EQUAL")
    elif occurring.min() > _LOW:
        _put_sign(draft, one, _replaced(draft, other, least - 1, one), output, "GREATER")
    else:
        # Some of the second's numbers are beyond the first's at either end, and so none of the first's beyond its last.
        behind = np.searchsorted(others, ones, "left" if strict else "right") + _LOW
        _put_sign(draft, other, _replaced(draft, one, behind, other), output, "LESS")


def _replaced(draft: Draft, index: int, codes: np.ndarray, like: int) -> int:
    """For each code of a tensor another, on the grid of ``like``."""
    table = codes.clip(_LOW, _HIGH).astype(np.int8)
    data = draft.data(index)
    if data is not None:
        return draft.constant(table[data.astype(np.int64) - _LOW], like)
    made = draft.computed(like, draft.shape(index))
    put_table(draft, index, table, made)
    return made


def _put_sign(draft: Draft, one: int, other: int, output: int, test: str) -> None:
    """The answer to how a first code compares with a second on the same grid: by their difference, which saturates."""
    if draft.data(one) is not None:
        one, other, test = other, one, _OPPOSITE[test]
    difference = draft.computed(one, draft.shape(output))
    draft.tensors[difference] = replace(draft.tensors[difference], zero_point=(0,))
    _put_both(draft, "SUB", one, other, difference)
    put_table(draft, difference, _ON_NUMBERS[test](_EVERY, np.zeros(1, np.int64)).astype(np.int8), output)


def _put_both(draft: Draft, name: str, one: int, other: int, output: int) -> None:
    if draft.data(one) is not None:
        one, other = other, one
    tables = {"SUB": ("SubOptions", {"FusedActivationFunction": 0})}
    draft.put(name, [one, other], [output], *tables.get(name, ("MaximumMinimumOptions",)))
    draft.operators.append(with_equal_ranks(draft, draft.operators.pop()))


def both(draft: Draft, operator: FileOperator) -> None:
    """LOGICAL_AND: the lower code."""
    _put_both(draft, "MINIMUM", *operator.inputs, *operator.outputs)


def either(draft: Draft, operator: FileOperator) -> None:
    """LOGICAL_OR: the higher code."""
    _put_both(draft, "MAXIMUM", *operator.inputs, *operator.outputs)


def every(draft: Draft, operator: FileOperator) -> None:
    """REDUCE_ALL: the lowest code."""
    draft.operators.append(replace(operator, name="REDUCE_MIN"))


def neither(draft: Draft, operator: FileOperator) -> None:
    """LOGICAL_NOT: a table."""
    (source,), (output,) = operator.inputs, operator.outputs
    put_table(draft, source, (_EVERY == 0).astype(np.int8), output)


def chosen(draft: Draft, operator: FileOperator) -> None:
    """SELECT_V2: each of the two lowered to the lowest code where the answer is for the other, and then the higher."""
    answer, *pair = operator.inputs
    (output,) = operator.outputs
    grid = draft.tensors[output].grid
    if any(draft.tensors[index].grid != grid for index in pair) or grid[0] not in ("int8", "int16"):
        raise ValueError(f"{', '.join(map(draft.words, pair))}: expected int8 or int16 on the output's grid")
    parts = [_left(draft, index, answer, place == 0, output) for place, index in enumerate(pair)]
    _put_both(draft, "MAXIMUM", parts[0], parts[1], output)


def _left(draft: Draft, index: int, answer: int, wanted: bool, output: int) -> int:
    """A tensor's codes where the answer is the wanted one, elsewhere the lowest code."""
    data = draft.data(index)
    dtype = draft.tensors[output].dtype
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    number = high if data is None or len(np.unique(data)) > 1 else int(data.reshape(-1)[0])
    fits = (_EVERY != 0) == wanted
    known = draft.data(answer)
    if known is not None:
        mask = draft.constant(np.where((known != 0) == wanted, number, low).astype(dtype), output)
    else:
        mask = draft.computed(output, draft.shape(answer))
        if dtype == "int8":
            put_table(draft, answer, np.where(fits, number, low).astype(np.int8), mask)
        else:
            _put_wide(draft, answer, np.where(fits, _HIGH, _LOW).astype(np.int8), mask)
            number = high
    if number != high or (data is not None and (data == high).all()):
        return mask
    made = draft.computed(output, np.broadcast_shapes(draft.shape(index), draft.shape(answer)))
    _put_both(draft, "MINIMUM", index, mask, made)
    return made


#: Codes of int8 at either end saturate in int16 on a grid as much finer.
_FINER = 512.0


def _put_wide(draft: Draft, answer: int, table: np.ndarray, mask: int) -> None:
    """The ends of int16, for a table of the ends of int8."""
    scale = draft.tensors[mask].scale[0] * _FINER
    coarse = draft.computed(answer, draft.shape(answer))
    draft.tensors[coarse] = replace(draft.tensors[coarse], scale=(scale,))
    put_table(draft, answer, table, coarse)
    draft.put("QUANTIZE", [coarse], [mask], "QuantizeOptions")
