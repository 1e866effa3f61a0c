"""Floats that are codes from the start, though a converter wrote them between: places, answers, rows, other grids."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from export.tflite.contents import read_contents
from export.tflite.file_form import file_form
from export.tflite.reader import read_tflite
from tests.foreign_judge import file_of, np, require_integers_of_tflm
from tests.schema_file import SchemaFile

_SHAPE = (1, 16, 10)
_ANY, _OTHER = (0.0713, 9), (0.0491, -31)


def _floats(
    file: SchemaFile, grid: tuple[float, int] = _ANY, dtype: str = "int8", shape: tuple[int, ...] = _SHAPE
) -> int:
    codes = file.tensor(shape, dtype, *grid, name=f"x{len(file.graph.inputs)}", end="input")
    floats = file.tensor(shape, "float32")
    file.operator("DEQUANTIZE", [codes], [floats])
    return floats


def _answered(file: SchemaFile, name: str, pair: list[int]) -> None:
    """An answer by which one of two tensors is chosen: no bool at the end."""
    answer, output = file.tensor(_SHAPE, "bool"), file.tensor(_SHAPE, "int8", *_ANY, end="output")
    file.operator(name, pair, [answer])
    ends = [file.constant(np.array(code, np.int8), _ANY[0], zero_point=_ANY[1]) for code in (-7, 100)]
    file.operator("SELECT_V2", [answer, *ends], [output])


@pytest.mark.parametrize("name", ["EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"])
@pytest.mark.parametrize("other", ["number", "number first", "function", "tensor"])
def test_floats_compare_as_in_tflite_micro(name: str, other: str) -> None:
    """With a number that is a code's, with what the same code becomes, and with codes of another grid."""

    def put(file: SchemaFile) -> None:
        x, number = _floats(file), file.constant(np.array(np.float32(0.0713 * 4), np.float32))
        if other == "number":
            pair = [x, number]
        elif other == "number first":
            pair = [number, x]
        elif other == "tensor":
            pair = [x, _floats(file, _OTHER)]
        else:
            pair = [x, file.tensor(_SHAPE, "float32")]
            file.operator("ABS", [x], [pair[1]])
        _answered(file, name, pair)

    require_integers_of_tflm(file_of(put))


def _places(file: SchemaFile) -> None:
    for name, axis in (("ARG_MAX", 1), ("ARG_MIN", -1)):
        shape = [size for place, size in enumerate(_SHAPE) if place != axis % 3]
        found = file.tensor(shape, "int32", end="output")
        table = f"Arg{name[4:].title()}Options"
        file.operator(name, [_floats(file), file.constant(np.array(axis, np.int32))], [found], table, {"outputType": 2})


def _rows(name: str) -> Callable[[SchemaFile], None]:
    """A table of floats behind an integer input, as ai-edge-quantizer leaves nn.Embedding."""

    def put(file: SchemaFile) -> None:
        table = file.constant(np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32))
        places = file.tensor((8,), "int32", name="places", end="input")
        rows, shaped = file.tensor((8, 5), "float32"), file.tensor((1, 8, 5), "float32")
        if name == "GATHER":
            file.operator(name, [table, places], [rows], "GatherOptions", {"axis": 0})
        else:
            file.operator(name, [places, table], [rows])
        file.operator("RESHAPE", [rows, file.constant(np.array([1, 8, 5], np.int32))], [shaped], "ReshapeOptions")
        file.operator("QUANTIZE", [shaped], [file.tensor((1, 8, 5), "int8", 0.0173, -4, end="output")])

    return put


def _reversed(dtype: str, scale: float, zero_point: int = 0) -> Callable[[SchemaFile], None]:
    """As a Bidirectional layer of int16 is written: reversed in floats, and on a grid of the codes' or another one."""

    def put(file: SchemaFile) -> None:
        floats = _floats(file, (0.001, 0), "int16")
        turned = file.tensor(_SHAPE, "float32")
        file.operator("REVERSE_V2", [floats, file.constant(np.array([1], np.int32))], [turned])
        file.operator("QUANTIZE", [turned], [file.tensor(_SHAPE, dtype, scale, zero_point, end="output")])

    return put


def _product(file: SchemaFile) -> None:
    """FULLY_CONNECTED by weights that are computed, as ``x @ y.transpose(1, 2)`` is written."""
    x = file.tensor((1, 3, 6), "int8", 0.03, 4, name="x0", end="input")
    y = file.tensor((1, 4, 6), "int8", 0.05, 0, name="x1", end="input")
    rows, made = file.tensor((4, 6), "int8", 0.05, 0), file.tensor((3, 4), "int8", 0.4, -3, end="output")
    file.operator("RESHAPE", [y, file.constant(np.array([4, 6], np.int32))], [rows], "ReshapeOptions")
    flat = file.tensor((3, 6), "int8", 0.03, 4)
    file.operator("RESHAPE", [x, file.constant(np.array([3, 6], np.int32))], [flat], "ReshapeOptions")
    file.operator("FULLY_CONNECTED", [flat, rows, -1], [made], "FullyConnectedOptions", {"keepNumDims": True})


_FILES = {
    "places": _places, "rows": _rows("GATHER"), "embedding": _rows("EMBEDDING_LOOKUP"),
    "reversed": _reversed("int16", 0.001), "finer": _reversed("int16", 0.0005), "int8": _reversed("int8", 0.25, -3),
    "product": _product,
}  # fmt: skip


@pytest.mark.parametrize("name", _FILES)
def test_the_codes_are_those_of_tflite_micro(name: str) -> None:
    model = file_of(_FILES[name])
    require_integers_of_tflm(model)
    assert file_form(read_contents(model)).is_integers


def test_a_grid_on_which_floats_and_integers_round_apart_stays_in_floats() -> None:
    """The kernel of integers rounds twice."""
    operators = [node.op for node in read_tflite(file_of(_reversed("int16", 0.0123)), aligned=False).nodes]
    assert operators == ["reverse_v2", "dequantize", "quantize"]
