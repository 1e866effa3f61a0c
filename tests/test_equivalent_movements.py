"""Operators that move elements, and tables of codes, in operators that rows know: the integers are TFLite Micro's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from export.tflite.reader import read_tflite
from qtorch.errors import BadModelFile
from tests.foreign_judge import require_integers_of_tflm
from tests.schema_file import SchemaFile

_SCALE, _ZERO = 0.25, 3


def _source(file: SchemaFile, *shape: int, scale: float = _SCALE, zero_point: int = _ZERO) -> int:
    return file.tensor(shape, "int8", scale, zero_point, name="x", end="input")


def _sink(file: SchemaFile, *shape: int, scale: float = _SCALE, zero_point: int = _ZERO) -> int:
    return file.tensor(shape, "int8", scale, zero_point, end="output")


def _gathered(file: SchemaFile, indices: object, *shape: int) -> None:
    given = file.constant(np.array(indices, np.int32))
    file.operator("GATHER", [_source(file, 1, 4, 6), given], [_sink(file, *shape)], "GatherOptions", {"axis": -1})


def _gather_runs_and_repeats(file: SchemaFile) -> None:
    _gathered(file, [4, 5, 0, 0, 1, 3], 1, 4, 6)


def _gather_one_run(file: SchemaFile) -> None:
    _gathered(file, [2, 3, 4], 1, 4, 3)


def _gather_a_number(file: SchemaFile) -> None:
    _gathered(file, 3, 1, 4)


def _gather_a_table(file: SchemaFile) -> None:
    _gathered(file, [[0, 1], [5, 2]], 1, 4, 2, 2)


def _depth_to_space(file: SchemaFile) -> None:
    ends = [_source(file, 1, 2, 3, 12)], [_sink(file, 1, 4, 6, 3)]
    file.operator("DEPTH_TO_SPACE", *ends, "DepthToSpaceOptions", {"blockSize": 2})


def _space_to_depth(file: SchemaFile) -> None:
    ends = [_source(file, 1, 6, 3, 2)], [_sink(file, 1, 2, 1, 18)]
    file.operator("SPACE_TO_DEPTH", *ends, "SpaceToDepthOptions", {"blockSize": 3})


def _mirror(file: SchemaFile, mode: int, pads: list[list[int]], shape: tuple[int, ...]) -> None:
    given = file.constant(np.array(pads, np.int32))
    ends = [_source(file, 1, 4, 3, 2), given], [_sink(file, *shape)]
    file.operator("MIRROR_PAD", *ends, "MirrorPadOptions", {"mode": mode})


def _reflected(file: SchemaFile) -> None:
    _mirror(file, 0, [[0, 0], [3, 1], [0, 2], [0, 0]], (1, 8, 5, 2))


def _symmetric(file: SchemaFile) -> None:
    _mirror(file, 1, [[0, 0], [4, 0], [1, 3], [0, 2]], (1, 8, 7, 4))


def _broadcast(file: SchemaFile) -> None:
    shape = file.constant(np.array([1, 13, 2, 5], np.int32))
    file.operator("BROADCAST_TO", [_source(file, 1, 2, 1), shape], [_sink(file, 1, 13, 2, 5)], "BroadcastToOptions")


def _absolute(file: SchemaFile) -> None:
    x, between = _source(file, 1, 256), file.tensor([1, 256], "int8", 0.31, -100)
    file.operator("ABS", [x], [between], "AbsOptions")
    file.operator("ABS", [between], [_sink(file, 1, 256, scale=0.31, zero_point=-100)], "AbsOptions")


def _elu(file: SchemaFile) -> None:
    x = _source(file, 1, 256, scale=0.031, zero_point=11)
    file.operator("ELU", [x], [_sink(file, 1, 256, scale=0.017, zero_point=-60)])


_FILES: list[Callable[[SchemaFile], None]] = [
    _gather_runs_and_repeats, _gather_one_run, _gather_a_number, _gather_a_table, _depth_to_space, _space_to_depth,
    _reflected, _symmetric, _broadcast, _absolute, _elu,
]  # fmt: skip


@pytest.mark.parametrize("put", _FILES, ids=lambda put: put.__name__.strip("_"))
def test_the_integers_are_those_of_tflite_micro(put: Callable[[SchemaFile], None]) -> None:
    file = SchemaFile()
    put(file)
    require_integers_of_tflm(file.written())


def test_what_does_not_fit_is_refused_by_operator_and_tensor() -> None:
    file = SchemaFile()
    _gathered(file, [2, 6], 1, 4, 2)
    with pytest.raises(BadModelFile, match=r"operator 0 .GATHER.: indices .2, 6. into axis 2 of tensor . 'x'"):
        read_tflite(file.written(), aligned=False)
    file = SchemaFile()
    _mirror(file, 0, [[0, 0], [4, 0], [0, 0], [0, 0]], (1, 8, 3, 2))
    with pytest.raises(BadModelFile, match=r"operator 0 .MIRROR_PAD.: paddings .* of tensor . 'x'"):
        read_tflite(file.written(), aligned=False)
