"""What is refused for a tensor's own sake says which tensor of the file, by its name, and of what type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from export.tflite.reader import read_tflite
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile


def _bools(file: SchemaFile) -> None:
    mask = [file.tensor([1, 3], "bool", name=name, end="input") for name in ("valid", "seen")]
    file.operator("LOGICAL_AND", mask, [file.tensor([1, 3], "bool", name="both", end="output")])


def _words(file: SchemaFile) -> None:
    text = file.tensor([1, 3], "string", name="words", end="input")
    file.operator(
        "RESHAPE", [text], [file.tensor([3, 1], "string", end="output")], "ReshapeOptions", {"newShape": [3, 1]}
    )


def _without_scale(file: SchemaFile) -> None:
    x = file.tensor([1, 3], "int8", name="raw", end="input")
    file.operator("RELU", [x], [file.tensor([1, 3], "int8", 0.05, 0, end="output")])


def _wide_order(file: SchemaFile) -> None:
    x = file.tensor([1, 2, 3], "int8", 0.05, 0, end="input")
    order = file.tensor([3], "int64", data=np.array([0, 2, 1]), name="order")
    file.operator("TRANSPOSE", [x, order], [file.tensor([1, 3, 2], "int8", 0.05, 0, end="output")])


def _computed_order(file: SchemaFile) -> None:
    x = file.tensor([1, 2, 3], "int8", 0.05, 0, end="input")
    order = file.tensor([3], "int32", name="order", end="input")
    file.operator("TRANSPOSE", [x, order], [file.tensor([1, 3, 2], "int8", 0.05, 0, end="output")])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_bools, r"tensor 0 'valid' of bool; known here are float16, .*int8"),
        (_words, r"tensor 0 'words' of string; known here are float16, "),
        (_without_scale, r"tensor 0 'raw' of int8 without a scale and a zero point"),
        (_wide_order, r"tensor 1 'order' of int64, which counts or gives places here, and has to be int32"),
        (_computed_order, r"tensor 1 'order', which is computed, where a constant has to be"),
    ],
)
def test_a_tensor_that_is_no_good_is_named_with_its_type(made: Callable[[SchemaFile], None], said: str) -> None:
    file = SchemaFile()
    made(file)
    with pytest.raises(BadModelFile, match=said):
        read_tflite(file.written(), aligned=False)
