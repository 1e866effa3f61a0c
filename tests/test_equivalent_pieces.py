"""Operators that take, replace and spread pieces of tensors, in operators that rows know: TFLite Micro's integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from export.compiled_file.compiled import compile_file
from export.engines.litert import LITERT_REFERENCE
from export.graph.interpret import interpret
from export.tflite.reader import read_tflite
from tests.foreign_judge import file_of, require_integers_of_tflm, require_refused
from tests.schema_file import SchemaFile
from tests.test_compile_command import request

_SCALE, _ZERO = 0.25, 3


def _source(file: SchemaFile, *shape: int) -> int:
    return file.tensor(shape, "int8", _SCALE, _ZERO, name="x", end="input")


def _sink(file: SchemaFile, *shape: int) -> int:
    return file.tensor(shape, "int8", _SCALE, _ZERO, end="output")


def _numbers(file: SchemaFile, *values: object) -> list[int]:
    return [file.constant(np.array(each, np.int32)) for each in values]


def _strided(
    file: SchemaFile, shape: Sequence[int], cut: Sequence[Sequence[int]], result: Sequence[int], **masks: int
) -> None:
    inputs = [_source(file, *shape), *_numbers(file, *cut)]
    file.operator("STRIDED_SLICE", inputs, [_sink(file, *result)], "StridedSliceOptions", masks)


def _backwards(file: SchemaFile) -> None:
    _strided(file, (1, 5, 7), ([0, -1, 5], [1, -9, 0], [1, -1, -2]), (1, 5, 3))


def _backwards_with_open_ends(file: SchemaFile) -> None:
    _strided(file, (1, 5, 7), ([0, 0, 0], [1, 0, 0], [1, -3, -1]), (1, 2, 7), beginMask=6, endMask=6)


def _backwards_and_dropped(file: SchemaFile) -> None:
    _strided(file, (1, 5, 7), ([0, -2, 0], [1, 9, 0], [1, 1, -2]), (1, 4), beginMask=4, endMask=4, shrinkAxisMask=2)


def _rows_of_four_axes(file: SchemaFile) -> None:
    _strided(file, (4, 3, 2, 5), ([3, 0, 0, 1], [0, 3, 2, 5], [-1, 2, 1, 2]), (3, 2, 2, 2))


def _every_second_row_of_four_axes(file: SchemaFile) -> None:
    _strided(file, (5, 3, 2, 4), ([0, 0, 0, 0], [5, 3, 2, 4], [2, 1, 1, 1]), (3, 3, 2, 4))


def _a_row_of_four_axes(file: SchemaFile) -> None:
    _strided(file, (4, 3, 2, 5), ([-2, 0, 0, 0], [0, 3, 2, 5], [1, 1, 1, 1]), (3, 2, 5), shrinkAxisMask=1)


def _the_picture_alone(file: SchemaFile) -> None:
    _strided(file, (1, 6, 5), ([0, 1, 0], [0, 6, 0], [1, 2, 1]), (3, 5), endMask=4, shrinkAxisMask=1)


def _gathered(file: SchemaFile, places: object, *shape: int) -> None:
    file.operator("GATHER_ND", [_source(file, 3, 4, 5), *_numbers(file, places)], [_sink(file, *shape)])


def _numbers_by_places(file: SchemaFile) -> None:
    _gathered(file, [[0, 1, 4], [2, 3, 0], [2, 3, 1]], 3)


def _rows_by_places(file: SchemaFile) -> None:
    _gathered(file, [[[0, 1], [1, 3]], [[2, 0], [0, 0]]], 2, 2, 5)


def _pictures_by_places(file: SchemaFile) -> None:
    _gathered(file, [[2], [1]], 2, 4, 5)


def _place_that_only_adds_up(file: SchemaFile) -> None:
    """The second row of 4 has no place -1: it is the last of the row before."""
    _gathered(file, [[1, -1]], 1, 5)


def _updated(file: SchemaFile, size: Sequence[int], begin: Sequence[int]) -> None:
    x, update = _source(file, 1, 4, 5, 3), file.tensor(size, "int8", _SCALE, _ZERO, name="y", end="input")
    file.operator("DYNAMIC_UPDATE_SLICE", [x, update, *_numbers(file, begin)], [_sink(file, 1, 4, 5, 3)])


def _inside(file: SchemaFile) -> None:
    _updated(file, (1, 2, 2, 3), (0, 1, 2, 0))


def _at_a_corner(file: SchemaFile) -> None:
    """Beyond the end, and moved back by the kernel."""
    _updated(file, (1, 3, 4, 2), (0, 3, 4, -1))


def _as_a_whole(file: SchemaFile) -> None:
    _updated(file, (1, 4, 5, 3), (0, 2, 2, 2))


def _spread(file: SchemaFile, shape: Sequence[int], block: object, ends: object, result: Sequence[int]) -> None:
    inputs = [_source(file, *shape), *_numbers(file, block, ends)]
    file.operator("SPACE_TO_BATCH_ND", inputs, [_sink(file, *result)], "SpaceToBatchNDOptions")


def _gather_blocks(file: SchemaFile, shape: Sequence[int], block: object, cuts: object, result: Sequence[int]) -> None:
    inputs = [_source(file, *shape), *_numbers(file, block, cuts)]
    file.operator("BATCH_TO_SPACE_ND", inputs, [_sink(file, *result)], "BatchToSpaceNDOptions")


def _space_to_batch(file: SchemaFile) -> None:
    _spread(file, (1, 4, 6, 2), [2, 3], [[0, 0], [0, 0]], (6, 2, 2, 2))


def _space_to_batch_of_two(file: SchemaFile) -> None:
    _spread(file, (2, 4, 6, 2), [2, 3], [[0, 0], [0, 0]], (12, 2, 2, 2))


def _space_to_batch_without_columns(file: SchemaFile) -> None:
    _spread(file, (1, 6, 5), [3], [[0, 0]], (3, 2, 5))


def _batch_to_space(file: SchemaFile) -> None:
    _gather_blocks(file, (12, 2, 3, 2), [2, 3], [[1, 0], [2, 3]], (2, 3, 4, 2))


def _batch_to_space_without_columns(file: SchemaFile) -> None:
    _gather_blocks(file, (4, 3, 2), [4], [[0, 3]], (1, 9, 2))


def _a_dilation_with_another_operator_between(file: SchemaFile) -> None:
    """As Keras writes Conv1D: pixels have one axis outside of the convolution and two inside."""
    rng = np.random.default_rng(2)
    spread = file.tensor([2, 6, 3], "int8", _SCALE, _ZERO)
    block, none = _numbers(file, [2], [[0, 0]])
    file.operator("SPACE_TO_BATCH_ND", [_source(file, 1, 12, 3), block, none], [spread], "SpaceToBatchNDOptions")
    images, shapes = file.tensor([2, 1, 6, 3], "int8", _SCALE, _ZERO), _numbers(file, 1)
    file.operator("EXPAND_DIMS", [spread, *shapes], [images], "ExpandDimsOptions")
    weight = file.constant(rng.integers(-127, 128, (4, 1, 3, 3)).astype(np.int8), 0.01)
    bias = file.constant(np.arange(4, dtype=np.int32) * 90, 0.0025)
    made = file.tensor([2, 1, 4, 4], "int8", _SCALE, _ZERO)
    options = {"strideH": 1, "strideW": 1, "padding": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    file.operator("CONV_2D", [images, weight, bias], [made], "Conv2DOptions", options, 3)
    flat = file.tensor([2, 4, 4], "int8", _SCALE, _ZERO)
    file.operator("SQUEEZE", [made], [flat], "SqueezeOptions", {"squeezeDims": [1]})
    file.operator("BATCH_TO_SPACE_ND", [flat, block, none], [_sink(file, 1, 8, 4)], "BatchToSpaceNDOptions")


def _zeros(file: SchemaFile) -> None:
    """Of codes, whatever the zero point is; joined with the numbers that they are like."""
    x, zeros = _source(file, 1, 3, 2), file.tensor([1, 3, 2], "int8", _SCALE, _ZERO)
    file.operator("ZEROS_LIKE", [x], [zeros], "ZerosLikeOptions")
    file.operator("CONCATENATION", [x, zeros], [_sink(file, 1, 6, 2)], "ConcatenationOptions", {"axis": 1})


def _filled(file: SchemaFile) -> None:
    shape = _numbers(file, [2, 3])
    file.operator("FILL", [*shape, _source(file)], [_sink(file, 2, 3)], "FillOptions")


def _common_shape(file: SchemaFile) -> None:
    """Known when the file is read: an output that is the same in every run."""
    file.operator("RESHAPE", [_source(file, 1, 4, 1)], [_sink(file, 1, 4)])
    file.operator("BROADCAST_ARGS", _numbers(file, [1, 4, 1], [3]), [file.tensor([3], "int32", end="output")])


def _picked(file: SchemaFile, shape: Sequence[int], picks: int, result: Sequence[int], axis: int) -> None:
    places = file.tensor([picks], "int32", name="places", end="input")
    file.operator("GATHER", [_source(file, *shape), places], [_sink(file, *result)], "GatherOptions", {"axis": axis})


def _columns_by_computed_places(file: SchemaFile) -> None:
    _picked(file, (1, 6, 3, 2), 4, (1, 4, 3, 2), -3)


def _rows_by_computed_places(file: SchemaFile) -> None:
    """Along the first axis, which counts no samples."""
    _picked(file, (6, 3), 2, (2, 3), 0)


def _where_the_largest_are(file: SchemaFile) -> None:
    """Of one tensor there, of another here; the batch is an axis of both."""
    x, places, y = _source(file, 1, 6, 3), file.tensor([1, 3], "int32"), _source(file, 1, 6, 2)
    file.operator("ARG_MAX", [x, *_numbers(file, 1)], [places], "ArgMaxOptions", {"outputType": 2})
    options = {"axis": 1, "batchDims": 1}
    file.operator("GATHER", [y, places], [_sink(file, 1, 3, 2)], "GatherOptions", options)


_FILES: list[Callable[[SchemaFile], None]] = [
    _backwards, _backwards_with_open_ends, _backwards_and_dropped, _rows_of_four_axes, _every_second_row_of_four_axes,
    _a_row_of_four_axes, _the_picture_alone, _numbers_by_places, _rows_by_places, _pictures_by_places,
    _place_that_only_adds_up, _inside, _at_a_corner, _as_a_whole, _space_to_batch, _space_to_batch_of_two,
    _space_to_batch_without_columns, _batch_to_space, _batch_to_space_without_columns,
    _a_dilation_with_another_operator_between, _zeros, _filled, _common_shape,
    _columns_by_computed_places, _rows_by_computed_places, _where_the_largest_are,
]  # fmt: skip


@pytest.mark.parametrize("put", _FILES, ids=lambda put: put.__name__.strip("_"))
def test_the_integers_are_those_of_tflite_micro(put: Callable[[SchemaFile], None]) -> None:
    require_integers_of_tflm(file_of(put))


@pytest.mark.parametrize("put", [_batch_to_space, _common_shape], ids=lambda put: put.__name__.strip("_"))
def test_it_is_compiled_as_a_whole(put: Callable[[SchemaFile], None]) -> None:
    """More pictures than a proof of the memory takes samples; an output that is the same in every run."""
    file = SchemaFile()
    put(file)
    compiled = compile_file(file.written(), request(samples=20), None)
    assert {compiled.engines[name].exact_share for name in ("tflm", "compiled_c")} == {1.0}


def test_blocks_are_padded_with_the_code_of_zero() -> None:
    """As LiteRT has it; TFLite Micro's kernel pads with a code that its preparation never sets."""
    file = SchemaFile()
    _spread(file, (1, 5, 4, 2), [2, 3], [[1, 2], [0, 2]], (6, 4, 2, 2))
    model = file.written()
    graph = read_tflite(model, aligned=False)
    codes = np.random.default_rng(0).integers(-128, 128, (8, 5, 4, 2)).astype(np.int8)
    (expected,) = LITERT_REFERENCE.run(model, (codes,))
    np.testing.assert_array_equal(interpret(graph, (codes,))[graph.outputs[0]], expected)
    compiled = compile_file(model, request(samples=20), codes)
    assert (compiled.metrics["folded"], compiled.engines["compiled_c"].exact_share) == (1, 1.0)


def _no_element(file: SchemaFile) -> None:
    _strided(file, (1, 5, 7), ([0, 1, 0], [1, 3, 7], [1, -1, 1]), (1, 1, 7))


def _dropped_backwards(file: SchemaFile) -> None:
    _strided(file, (1, 5, 7), ([0, -2, 0], [1, 9, 7], [1, -1, 1]), (1, 7), shrinkAxisMask=2)


def _place_outside(file: SchemaFile) -> None:
    _gathered(file, [[2, 4]], 1, 5)


def _more_than_there_is(file: SchemaFile) -> None:
    _updated(file, (1, 5, 5, 3), (0, 0, 0, 0))


def _open_batch(file: SchemaFile) -> None:
    _spread(file, (1, 4, 6, 2), [2, 3], [[0, 0], [0, 0]], (1, 2, 2, 2))


def _behind_an_axis(file: SchemaFile) -> None:
    _picked(file, (1, 5, 6), 2, (1, 5, 2), 2)


def _no_whole_blocks(file: SchemaFile) -> None:
    _gather_blocks(file, (4, 2, 3, 2), [2, 3], [[0, 0], [0, 0]], (1, 4, 9, 2))


def _blocks_of_nothing(file: SchemaFile) -> None:
    _gather_blocks(file, (4, 2, 3, 2), [0, 3], [[0, 0], [0, 0]], (1, 4, 9, 2))


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (_no_element, "STRIDED_SLICE.: .*tensor 0 'x' of .1, 5, 7.: expected elements inside"),
        (_dropped_backwards, "STRIDED_SLICE.: axis 1 dropped and cut backwards"),
        (_place_outside, "GATHER_ND.: places .* of tensor 0 'x' of .3, 4, 5."),
        (_more_than_there_is, "DYNAMIC_UPDATE_SLICE.: tensor 1 'y' of .1, 5, 5, 3. at"),
        (_open_batch, "SPACE_TO_BATCH_ND.: .* where the blocks give .6, 2, 2, 2.. A batch .* left open"),
        (_behind_an_axis, "GATHER.: tensor 1 'x' of .1, 5, 6., which is computed, along axis 2 by tensor 0 'places'"),
        (_no_whole_blocks, "BATCH_TO_SPACE_ND.: blocks of 2x3 of tensor 0 'x', which are 4 pictures"),
        (_blocks_of_nothing, "BATCH_TO_SPACE_ND.: expected pictures .* blocks of .0, 3."),
    ],
    ids=lambda each: each.__name__.strip("_") if callable(each) else "",
)
def test_what_does_not_fit_is_refused_by_operator_and_tensor(put: Callable[[SchemaFile], None], words: str) -> None:
    require_refused(put, words)
