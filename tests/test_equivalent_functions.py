"""Functions in floats between DEQUANTIZE and QUANTIZE: the codes are TFLite Micro's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from export.float_file.read import float_file
from export.tflite.contents import read_contents
from export.tflite.equivalents.float_functions import parts_of_tables
from export.tflite.reader import read_tflite
from qtorch.errors import BadModelFile
from tests.foreign_judge import file_of, np, require_integers_of_tflm
from tests.schema_file import SchemaFile

_SHAPE = (1, 16, 40)
#: Functions of one number, and their tables of options.
_ANY = (0.0713, 9)
_FUNCTIONS = {
    "ABS": None, "CEIL": None, "COS": "CosOptions", "ELU": None, "EXP": "ExpOptions", "FLOOR": None, "HARD_SWISH": None,
    "LOGISTIC": None, "NEG": "NegOptions", "RELU": None, "RELU6": None, "ROUND": None, "SIN": None,
    "SQUARE": "SquareOptions", "TANH": None,
}  # fmt: skip
_OF_POSITIVE = ("LOG", "RSQRT", "SQRT")
_OF_TWO = {
    "ADD": "AddOptions", "DIV": "DivOptions", "MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions", "SQUARED_DIFFERENCE": "SquaredDifferenceOptions", "SUB": "SubOptions",
}  # fmt: skip


def _floats(file: SchemaFile, scale: float, zero_point: int) -> int:
    codes = file.tensor(_SHAPE, "int8", scale, zero_point, name=f"x{len(file.graph.inputs)}", end="input")
    floats = file.tensor(_SHAPE, "float32")
    file.operator("DEQUANTIZE", [codes], [floats])
    return floats


def _quantized(file: SchemaFile, floats: int, scale: float, zero_point: int = 3) -> None:
    file.operator("QUANTIZE", [floats], [file.tensor(_SHAPE, "int8", scale, zero_point, end="output")])


def _of_one_number(file: SchemaFile) -> None:
    x = _floats(file, *_ANY)
    for name, table in _FUNCTIONS.items():
        made = file.tensor(_SHAPE, "float32")
        file.operator(name, [x], [made], table)
        _quantized(file, made, 0.0371 if name != "EXP" else 11.7)
    leaky = file.tensor(_SHAPE, "float32")
    file.operator("LEAKY_RELU", [x], [leaky], "LeakyReluOptions", {"alpha": 0.3})
    _quantized(file, leaky, 0.0371)


def _of_positive_numbers(file: SchemaFile) -> None:
    """Behind a maximum, so that each code has a result."""
    x, least = _floats(file, 0.0313, -100), file.constant(np.array(0.01, np.float32))
    above = file.tensor(_SHAPE, "float32")
    file.operator("MAXIMUM", [x, least], [above], "MaximumMinimumOptions")
    for name in _OF_POSITIVE:
        made = file.tensor(_SHAPE, "float32")
        file.operator(name, [above], [made])
        _quantized(file, made, 0.0171)


def _with_constants(file: SchemaFile) -> None:
    """Each way round, and with activations fused."""
    x, number = _floats(file, *_ANY), file.constant(np.array(1.37, np.float32))
    rows = file.constant(np.full((1, 1, 40), 0.71, np.float32))
    for name, table in _OF_TWO.items():
        for place, pair in enumerate(([x, number], [x, rows], [number, x])):
            if name == "DIV" and place == 2:
                continue
            fused = {} if "Max" in table or "Squared" in table else {"fusedActivationFunction": (0, 1, 3)[place]}
            made = file.tensor(_SHAPE, "float32")
            file.operator(name, pair, [made], table, fused)
            _quantized(file, made, 0.0423)


def _chain(file: SchemaFile) -> None:
    """``x * tanh(log(1 + exp(x)))``, in which x is read twice, and answers that are cast."""
    x, one = _floats(file, *_ANY), file.constant(np.array(1, np.float32))
    chain = [file.tensor(_SHAPE, "float32") for _ in range(5)]
    file.operator("EXP", [x], [chain[0]], "ExpOptions")
    file.operator("ADD", [chain[0], one], [chain[1]], "AddOptions")
    file.operator("LOG", [chain[1]], [chain[2]])
    file.operator("TANH", [chain[2]], [chain[3]])
    file.operator("MUL", [chain[3], x], [chain[4]], "MulOptions")
    _quantized(file, chain[4], 0.0713)
    answer, cast = file.tensor(_SHAPE, "bool"), file.tensor(_SHAPE, "float32")
    file.operator("GREATER", [0, file.constant(np.array(4, np.int8), 0.0713, zero_point=9)], [answer])
    file.operator("CAST", [answer], [cast], "CastOptions")
    _quantized(file, cast, 0.00392, -128)


def _moved(file: SchemaFile) -> None:
    """As GRU is written out: floats are split between DEQUANTIZE and QUANTIZE, and one part is a function too."""
    x, axis = _floats(file, *_ANY), file.constant(np.array(1, np.int32))
    parts = [file.tensor((1, 8, 40), "float32") for _ in range(2)]
    file.operator("SPLIT", [axis, x], parts, "SplitOptions", {"numSplits": 2})
    negative, turned = file.tensor((1, 8, 40), "float32"), file.tensor((1, 40, 8), "float32")
    file.operator("NEG", [parts[0]], [negative], "NegOptions")
    file.operator("TRANSPOSE", [parts[1], file.constant(np.array([0, 2, 1], np.int32))], [turned], "TransposeOptions")
    ends = [(negative, (1, 8, 40), 0.05, 3), (turned, (1, 40, 8), *_ANY)]
    for floats, shape, scale, zero_point in ends:
        file.operator("QUANTIZE", [floats], [file.tensor(shape, "int8", scale, zero_point, end="output")])


def _of_places(file: SchemaFile) -> None:
    """What ARG_MAX and ARG_MIN found, as int8, and as floats that are quantized, behind a function too."""
    for name, axis in (("ARG_MAX", 1), ("ARG_MIN", -1)):
        x = file.tensor(_SHAPE, "int8", *_ANY, end="input")
        shape = [size for place, size in enumerate(_SHAPE) if place != axis % 3]
        found, cast, scaled = file.tensor(shape, "int32"), file.tensor(shape, "float32"), file.tensor(shape, "float32")
        table = f"Arg{name[4:].title()}Options"
        file.operator(name, [x, file.constant(np.array(axis, np.int32))], [found], table, {"outputType": 2})
        file.operator("CAST", [found], [cast], "CastOptions")
        file.operator("MUL", [cast, file.constant(np.array(0.3, np.float32))], [scaled], "MulOptions")
        for floats in (cast, scaled):
            file.operator("QUANTIZE", [floats], [file.tensor(shape, "int8", 0.0923, -100, end="output")])
        file.operator("CAST", [found], [file.tensor(shape, "int8", end="output")], "CastOptions")


@pytest.mark.parametrize(
    "put",
    [_of_one_number, _of_positive_numbers, _with_constants, _chain, _moved, _of_places],
    ids=lambda put: put.__name__.strip("_"),
)
def test_the_codes_are_those_of_tflite_micro(put: Callable[[SchemaFile], None]) -> None:
    require_integers_of_tflm(file_of(put))


def _of_two_tensors(file: SchemaFile) -> None:
    made = file.tensor(_SHAPE, "float32")
    file.operator("DIV", [_floats(file, *_ANY), _floats(file, *_ANY)], [made], "DivOptions")
    _quantized(file, made, 0.0371)


def _of_columns(file: SchemaFile) -> None:
    made, rows = file.tensor(_SHAPE, "float32"), file.constant(np.arange(40, dtype=np.float32))
    file.operator("MUL", [_floats(file, *_ANY), rows], [made], "MulOptions")
    _quantized(file, made, 0.0371)


@pytest.mark.parametrize("put", [_of_two_tensors, _of_columns], ids=lambda put: put.__name__.strip("_"))
def test_what_is_no_function_of_one_code_stays_in_floats(put: Callable[[SchemaFile], None]) -> None:
    graph = read_tflite(file_of(put), aligned=False)
    assert graph.has_float_nodes
    assert not any(node.op == "table" for node in graph.nodes)


def test_a_result_that_no_integer_holds_is_refused_with_its_code() -> None:
    """The conversion is undefined in C: x86 has the least integer, Arm 0."""

    def put(file: SchemaFile) -> None:
        made = file.tensor(_SHAPE, "float32")
        file.operator("LOG", [_floats(file, 0.0313, -100)], [made])
        _quantized(file, made, 0.0171)

    words = r"operator 2 \(QUANTIZE\): code -128 of tensor 1 'x0' becomes nan in tensor 0"
    with pytest.raises(BadModelFile, match=words):
        read_tflite(file_of(put), aligned=False)


def test_a_circle_of_floats_is_no_function() -> None:
    """What a file is, is said of a damaged one too."""
    file = SchemaFile()
    x, a, b = _floats(file, *_ANY), file.tensor(_SHAPE, "float32"), file.tensor(_SHAPE, "float32")
    file.operator("ADD", [x, b], [a], "AddOptions")
    file.operator("NEG", [a], [b], "NegOptions")
    file.operator("SUB", [a], [file.tensor(_SHAPE, "float32")], "SubOptions")
    _quantized(file, b, 0.0371)
    assert not parts_of_tables(read_contents(file.written()))


def test_a_float_network_has_the_product_that_neg_and_square_are() -> None:
    """LiteRT computes the file when it is read."""

    def put(file: SchemaFile) -> None:
        x = file.tensor(_SHAPE, "float32", end="input")
        negative, squared = file.tensor(_SHAPE, "float32"), file.tensor(_SHAPE, "float32", end="output")
        file.operator("NEG", [x], [negative], "NegOptions")
        file.operator("SQUARE", [negative], [squared], "SquareOptions")

    network = float_file(file_of(put))
    x = torch.randn(2, *_SHAPE[1:])
    assert "equals LiteRT's" in network.remark
    torch.testing.assert_close(network.net(x), x**2)
