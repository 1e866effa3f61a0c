"""Comparisons, logic and choices by them, in operators that rows know: the integers are TFLite Micro's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.foreign_judge import file_of, require_integers_of_tflm, require_refused
from tests.schema_file import SchemaFile

_COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
#: A scale and a zero point of each of two inputs.
_GRIDS = {
    "one grid": ((0.25, 3), (0.25, 3)),
    "some codes are one number": ((0.0011, -7), (0.0017, 20)),
    "the first is within the second": ((0.05, 3), (0.11, -10)),
    "the second is within the first": ((0.11, 3), (0.05, -10)),
    "the first begins below": ((0.1, 100), (0.1, -100)),
    "the second begins below": ((0.013, -128), (0.11, 127)),
    "products on a tie": ((0.50390625, 1), (0.501953125, -2)),
}


def _answer(file: SchemaFile, shape: Sequence[int], end: str = "output") -> int:
    return file.tensor(shape, "bool", end=end)


def _source(file: SchemaFile, shape: Sequence[int], grid: tuple[float, int] = (0.25, 3), dtype: str = "int8") -> int:
    return file.tensor(shape, dtype, *grid, name=f"x{len(file.graph.inputs)}", end="input")


@pytest.mark.parametrize("grids", _GRIDS)
@pytest.mark.parametrize("name", _COMPARISONS)
def test_two_inputs_compare_as_in_tflite_micro(name: str, grids: str) -> None:
    """What comes out is 1 or 0, where TFLite Micro has true or false."""
    file, shape = SchemaFile(), (1, 900)
    file.operator(name, [_source(file, shape, grid) for grid in _GRIDS[grids]], [_answer(file, shape)])
    require_integers_of_tflm(file.written())


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("values", [[5], [-128, 127, 4, 90], [-128, -128, -128, -128]])
@pytest.mark.parametrize("name", _COMPARISONS)
def test_a_constant_compares_as_in_tflite_micro(name: str, values: list[int], position: int) -> None:
    """A number, numbers, and one that nothing is below: with a scale that makes some of the input's codes one."""
    file, shape = SchemaFile(), (1, 60, 4)
    data = np.array(values, np.int8).reshape(len(values))
    pair = [_source(file, shape, (0.0011, -7)), file.constant(data, 0.01, zero_point=4)]
    file.operator(name, pair if position else pair[::-1], [_answer(file, shape)])
    require_integers_of_tflm(file.written())


def _rows_and_columns(file: SchemaFile) -> None:
    file.operator("GREATER", [_source(file, (1, 7, 1)), _source(file, (1, 1, 9))], [_answer(file, (1, 7, 9))])


def _fewer_axes(file: SchemaFile) -> None:
    file.operator("EQUAL", [_source(file, (1, 7, 9)), _source(file, (9,))], [_answer(file, (1, 7, 9))])


def _compared(file: SchemaFile, name: str, shape: Sequence[int], *others: int) -> int:
    made = _answer(file, shape, "")
    file.operator(name, [_source(file, shape), *(others or [file.constant(np.array(3, np.int8), 0.25)])], [made])
    return made


def _logic(file: SchemaFile) -> None:
    shape = (1, 40)
    one, other = (_compared(file, name, shape) for name in ("LESS", "GREATER_EQUAL"))
    joined, inverse = _answer(file, shape, ""), _answer(file, shape, "")
    file.operator("LOGICAL_AND", [one, other], [joined])
    file.operator("LOGICAL_NOT", [one], [inverse])
    file.operator("LOGICAL_OR", [joined, inverse], [_answer(file, shape)])


def _moved_answers(file: SchemaFile) -> None:
    flat = _answer(file, (1, 12))
    file.operator("RESHAPE", [_compared(file, "GREATER", (1, 3, 4))], [flat])


def _chosen(file: SchemaFile, dtype: str, pair: list[int], answer: int, shape: Sequence[int]) -> None:
    zero = 3 if dtype == "int8" else 0
    file.operator("SELECT_V2", [answer, *pair], [file.tensor(shape, dtype, 0.25, zero, end="output")])


def _choice_of_two(file: SchemaFile) -> None:
    shape = (1, 300)
    answer = _compared(file, "GREATER", shape)
    _chosen(file, "int8", [_source(file, shape), _source(file, shape)], answer, shape)


def _choice_of_a_number(file: SchemaFile) -> None:
    """As ``where(x > 0, x, 0)``, and the other way round."""
    shape = (1, 300)
    x, zero = _source(file, shape), file.constant(np.array(3, np.int8), 0.25, zero_point=3)
    answer, opposite = _answer(file, shape, ""), _answer(file, shape, "")
    file.operator("GREATER", [x, zero], [answer])
    file.operator("LESS_EQUAL", [x, zero], [opposite])
    _chosen(file, "int8", [x, zero], answer, shape)
    _chosen(file, "int8", [zero, x], opposite, shape)


def _choice_of_constants(file: SchemaFile) -> None:
    shape = (1, 5, 6)
    codes = np.arange(-15, 15, dtype=np.int8).reshape(shape)
    pair = [file.constant(each, 0.25, zero_point=3) for each in (codes, np.array([127, -128, 1, 2, 3, 4], np.int8))]
    _chosen(file, "int8", pair, _compared(file, "GREATER", shape), shape)


def _choice_by_rows(file: SchemaFile) -> None:
    pair = [_source(file, (1, 5, 6)), _source(file, (1, 1, 6))]
    _chosen(file, "int8", pair, _compared(file, "GREATER", (1, 5, 1)), (1, 5, 6))


def _choice_by_a_constant(file: SchemaFile) -> None:
    answer = file.constant(np.array([True, False, False, True]))
    _chosen(file, "int8", [_source(file, (1, 7, 4)), _source(file, (1, 7, 4))], answer, (1, 7, 4))


def _wide_choice(file: SchemaFile) -> None:
    shape = (1, 300)
    answer = _compared(file, "LESS", shape)
    _chosen(file, "int16", [_source(file, shape, (0.25, 0), "int16") for _ in range(2)], answer, shape)


def _wide_choice_of_a_number(file: SchemaFile) -> None:
    shape = (1, 300)
    pair = [file.constant(np.array(-77, np.int16), 0.25), _source(file, shape, (0.25, 0), "int16")]
    _chosen(file, "int16", pair, _compared(file, "LESS", shape), shape)


def _all_of_them(file: SchemaFile) -> None:
    """With axes that are kept, and without; each of them by an answer that is mostly yes."""
    for axes, kept, shape in (([2], True, (1, 7, 1)), ([1, -1], False, (1,)), ([1], False, (1, 4))):
        source, answer = _source(file, (1, 7, 4)), file.tensor((1, 7, 4), "bool")
        low = file.constant(np.array(-119, np.int8), 0.25, zero_point=3)
        file.operator("GREATER", [source, low], [answer])
        places, made = file.constant(np.array(axes, np.int32)), file.tensor(shape, "bool")
        file.operator("REDUCE_ALL", [answer, places], [made], "ReducerOptions", {"keepDims": kept})
        ends = [file.constant(np.array(code, np.int8), 0.25, zero_point=3) for code in (5, -6)]
        file.operator("SELECT_V2", [made, *ends], [file.tensor(shape, "int8", 0.25, 3, end="output")])


_FILES: list[Callable[[SchemaFile], None]] = [
    _rows_and_columns, _fewer_axes, _logic, _moved_answers, _choice_of_two, _choice_of_a_number, _choice_of_constants,
    _choice_by_rows, _choice_by_a_constant, _wide_choice, _wide_choice_of_a_number, _all_of_them,
]  # fmt: skip


@pytest.mark.parametrize("put", _FILES, ids=lambda put: put.__name__.strip("_"))
def test_the_integers_are_those_of_tflite_micro(put: Callable[[SchemaFile], None]) -> None:
    require_integers_of_tflm(file_of(put))


def _too_coarse(file: SchemaFile) -> None:
    file.operator("LESS", [_source(file, (1, 4), (1.5, 0)), _source(file, (1, 4))], [_answer(file, (1, 4))])


def _wide(file: SchemaFile) -> None:
    pair = [_source(file, (1, 4), (0.25, 0), "int16") for _ in range(2)]
    file.operator("GREATER", pair, [_answer(file, (1, 4))])


def _other_grid(file: SchemaFile) -> None:
    answer = file.constant(np.array([True, False, False, True]))
    _chosen(file, "int8", [_source(file, (1, 4)), _source(file, (1, 4), (0.5, 3))], answer, (1, 4))


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (_too_coarse, "LESS.: tensor 0 'x0' with scales .1.5,.: expected one below 1"),
        (_wide, "GREATER.: tensor 0 'x0', tensor 1 'x1': comparisons of int8 alone"),
        (_other_grid, "SELECT_V2.: tensor 1 'x0', tensor 2 'x1': expected int8 or int16 on the output's grid"),
    ],
    ids=lambda each: each.__name__.strip("_") if callable(each) else "",
)
def test_what_does_not_fit_is_refused_by_operator_and_tensor(put: Callable[[SchemaFile], None], words: str) -> None:
    require_refused(put, words)
