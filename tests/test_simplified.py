"""Graphs that others wrote with fewer ops: TFLite Micro computes the same of the file as it was and as it is then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from export.graph.passes.foreign.simplified import saved, simplified
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from tests.schema_file import SchemaFile

runtime = pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro").runtime

_SCALE, _ZERO = 0.25, 3


def _computed(file: SchemaFile, *shape: int, end: str = "") -> int:
    return file.tensor(shape, "int8", _SCALE, _ZERO, end=end)


def _transpose(file: SchemaFile, source: int, perm: tuple[int, ...], output: int) -> None:
    operand = file.constant(np.array(perm, np.int32))
    file.operator("TRANSPOSE", [source, operand], [output], "TransposeOptions")


def _transpose_pair(file: SchemaFile) -> None:
    x, between = _computed(file, 1, 3, 4, 2, end="input"), _computed(file, 1, 2, 3, 4)
    _transpose(file, x, (0, 3, 1, 2), between)
    back = _computed(file, 1, 3, 4, 2)
    _transpose(file, between, (0, 2, 3, 1), back)
    _pool(file, back)


def _pool(file: SchemaFile, source: int) -> None:
    output = _computed(file, 1, 1, 2, 2, end="output")
    options = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2, "padding": 1}
    file.operator("MAX_POOL_2D", [source], [output], "Pool2DOptions", options)


def _two_transposes_as_one(file: SchemaFile) -> None:
    x, between = _computed(file, 1, 3, 4, 2, end="input"), _computed(file, 1, 4, 3, 2)
    _transpose(file, x, (0, 2, 1, 3), between)
    _transpose(file, between, (0, 3, 1, 2), _computed(file, 1, 2, 4, 3, end="output"))


def _transpose_of_one_long_axis(file: SchemaFile) -> None:
    x = _computed(file, 1, 5, 1, 2, end="input")
    _transpose(file, x, (0, 2, 1, 3), _computed(file, 1, 1, 5, 2, end="output"))


def _quantize_onto_its_own_grid(file: SchemaFile) -> None:
    x, same = _computed(file, 1, 3, 4, 2, end="input"), _computed(file, 1, 3, 4, 2)
    file.operator("QUANTIZE", [x], [same])
    _pool(file, same)


def _quantize_there_and_back(file: SchemaFile) -> None:
    """int16 holds every code of int8."""
    x, back = _computed(file, 1, 3, 4, 2, end="input"), _computed(file, 1, 3, 4, 2)
    wide = file.tensor([1, 3, 4, 2], "int16", _SCALE / 64)
    file.operator("QUANTIZE", [x], [wide])
    file.operator("QUANTIZE", [wide], [back])
    _pool(file, back)


def _quantize_that_loses(file: SchemaFile) -> None:
    """A coarser grid between stays: what it rounds off is gone."""
    x, back = _computed(file, 1, 3, 4, 2, end="input"), _computed(file, 1, 3, 4, 2)
    coarse = file.tensor([1, 3, 4, 2], "int8", _SCALE * 3, 1)
    file.operator("QUANTIZE", [x], [coarse])
    file.operator("QUANTIZE", [coarse], [back])
    _pool(file, back)


def _padded_convolution(file: SchemaFile, paddings: list[list[int]], size: int, also_read: bool = False) -> None:
    rng = np.random.default_rng(1)
    x = _computed(file, 1, 6, 6, 2, end="input")
    larger = 6 + sum(paddings[1])
    padded = _computed(file, 1, larger, larger, 2, end="output" if also_read else "")
    file.operator("PAD", [x, file.constant(np.array(paddings, np.int32))], [padded], "PadOptions")
    weight = file.constant(rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8), [0.01, 0.02, 0.03])
    bias = file.constant(np.array([5, -70, 300], np.int32), [0.0025, 0.005, 0.0075])
    output = file.tensor([1, size, size, 3], "int8", 0.5, -9, end="output")
    options = {"strideH": 1, "strideW": 1, "padding": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    file.operator("CONV_2D", [padded, weight, bias], [output], "Conv2DOptions", options, 3)


def _pad_that_same_says(file: SchemaFile) -> None:
    _padded_convolution(file, [[0, 0], [1, 1], [1, 1], [0, 0]], 6)


def _pad_of_two(file: SchemaFile) -> None:
    _padded_convolution(file, [[0, 0], [2, 2], [2, 2], [0, 0]], 8)


def _pad_that_is_read_elsewhere(file: SchemaFile) -> None:
    _padded_convolution(file, [[0, 0], [1, 1], [1, 1], [0, 0]], 6, also_read=True)


def _padded_maximum(file: SchemaFile, zero: int, code: int | None, size: int = 3) -> None:
    x = file.tensor([1, 6, 6, 2], "int8", _SCALE, zero, end="input")
    padded = file.tensor([1, 7, 7, 2], "int8", _SCALE, zero)
    paddings = file.constant(np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32))
    if code is None:
        file.operator("PAD", [x, paddings], [padded], "PadOptions")
    else:
        value = file.constant(np.array([code], np.int8), _SCALE, zero_point=zero)
        file.operator("PADV2", [x, paddings, value], [padded], "PadV2Options")
    output = file.tensor([1, 3, 3, 2], "int8", _SCALE, zero, end="output")
    options = {"filterHeight": size, "filterWidth": size, "strideH": 2, "strideW": 2, "padding": 1}
    file.operator("MAX_POOL_2D", [padded], [output], "Pool2DOptions", options)


def _maximum_beside_the_least_code(file: SchemaFile) -> None:
    _padded_maximum(file, 3, -128)


def _maximum_beside_zeros_that_are_the_least(file: SchemaFile) -> None:
    _padded_maximum(file, -128, None)


def _maximum_beside_zeros(file: SchemaFile) -> None:
    _padded_maximum(file, 3, None)


def _average_beside_zeros(file: SchemaFile) -> None:
    _padded_maximum(file, -128, None)
    file.model.operatorCodes[-1].builtinCode = file.model.operatorCodes[-1].deprecatedBuiltinCode = 1


def _with_constant(file: SchemaFile, operator: str, codes: list[int], scale: float, zero: int) -> None:
    x, y = _computed(file, 1, 3, 4, 2, end="input"), _computed(file, 1, 3, 4, 2)
    constant = file.constant(np.array(codes, np.int8), scale, zero_point=zero)
    file.operator(operator, [x, constant], [y], f"{operator.title()}Options", {})
    _pool(file, y)


def _product_with_one(file: SchemaFile) -> None:
    _with_constant(file, "MUL", [127, 127], 1 / 127, 0)


def _product_with_one_and_two(file: SchemaFile) -> None:
    _with_constant(file, "MUL", [50, 100], 1 / 50, 0)


def _sum_with_zero(file: SchemaFile) -> None:
    _with_constant(file, "ADD", [-7, -7], _SCALE, -7)


def _relu_of_what_is_positive(file: SchemaFile) -> None:
    x, y = (file.tensor([1, 3, 4, 2], "int8", _SCALE, -128, end=end) for end in ("input", ""))
    file.operator("RELU", [x], [y])
    output = file.tensor([1, 1, 2, 2], "int8", _SCALE, -128, end="output")
    options = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2, "padding": 1}
    file.operator("MAX_POOL_2D", [y], [output], "Pool2DOptions", options)


_CASES: list[tuple[Callable[[SchemaFile], None], str]] = [
    (_transpose_pair, "2 TRANSPOSE fewer"),
    (_two_transposes_as_one, "1 TRANSPOSE fewer"),
    (_transpose_of_one_long_axis, "1 TRANSPOSE fewer"),
    (_quantize_onto_its_own_grid, "1 QUANTIZE fewer"),
    (_quantize_there_and_back, "2 QUANTIZE fewer"),
    (_quantize_that_loses, ""),
    (_pad_that_same_says, "1 PAD fewer"),
    (_pad_of_two, ""),
    (_pad_that_is_read_elsewhere, ""),
    (_maximum_beside_the_least_code, "1 PADV2 fewer"),
    (_maximum_beside_zeros_that_are_the_least, "1 PAD fewer"),
    (_maximum_beside_zeros, ""),
    (_average_beside_zeros, ""),
    (_product_with_one, "1 MUL fewer"),
    (_product_with_one_and_two, ""),
    (_sum_with_zero, "1 ADD fewer"),
    (_relu_of_what_is_positive, "1 RELU fewer"),
]


@pytest.mark.parametrize(("put", "words"), _CASES, ids=lambda case: getattr(case, "__name__", "").strip("_"))
def test_fewer_ops_give_the_same_integers(put: Callable[[SchemaFile], None], words: str) -> None:
    file = SchemaFile()
    put(file)
    model = file.written()
    graph = read_tflite(model, aligned=False)
    fewer = simplified(graph)
    assert saved(graph, fewer) == words
    before, after = (runtime.Interpreter.from_bytes(m, arena_size=1 << 16) for m in (model, write_tflite(fewer)))
    rng = np.random.default_rng(0)
    for _ in range(8):
        codes = rng.integers(-128, 128, graph.values[graph.inputs[0]].shape).astype(np.int8)
        outputs = []
        for engine in (before, after):
            engine.set_input(codes, 0)
            engine.invoke()
            outputs.append([engine.get_output(i) for i in range(len(graph.outputs))])
        for expected, got in zip(*outputs, strict=True):
            np.testing.assert_array_equal(expected, got)
