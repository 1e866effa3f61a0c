"""Operators that move elements, and tables of codes, in operators that rows know: the integers are TFLite Micro's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.c.compiled import run_c
from export.c.model import c_model
from export.graph.interpret import interpret
from export.tflite.reader import read_tflite
from qtorch.errors import BadModelFile
from tests.foreign_judge import file_of, require_integers_of_tflm
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


def _absolute_of_int16(file: SchemaFile) -> None:
    x = file.tensor([1, 1024], "int16", 0.001, name="x", end="input")
    for scale in (0.0007, 0.001, 0.0013):
        file.operator("ABS", [x], [file.tensor([1, 1024], "int16", scale, end="output")], "AbsOptions")


def _elu(file: SchemaFile) -> None:
    x = _source(file, 1, 256, scale=0.031, zero_point=11)
    file.operator("ELU", [x], [_sink(file, 1, 256, scale=0.017, zero_point=-60)])


def _onto_other_grids(file: SchemaFile) -> None:
    """As TensorFlow writes a Bidirectional layer: REVERSE_V2 copies codes, whatever they stand for."""
    x, axis = _source(file, 1, 40, 7), file.constant(np.array([1], np.int32))
    turned = file.tensor([1, 40, 7], "int8", 0.31, -20)
    file.operator("REVERSE_V2", [x, axis], [turned], "ReverseV2Options")
    flat = _sink(file, 1, 280, scale=0.017, zero_point=90)
    file.operator("RESHAPE", [turned, file.constant(np.array([1, 280], np.int32))], [flat], "ReshapeOptions")


def _dilated(file: SchemaFile, name: str, paddings: list[list[int]], crops: list[list[int]], size: int) -> None:
    """A window of 3 over every second row and every third column, as TensorFlow writes it."""
    rng = np.random.default_rng(1)
    depthwise = name == "DEPTHWISE_CONV_2D"
    shape = (1, 3, 3, 2) if depthwise else (4, 3, 3, 2)
    weight = file.constant(rng.integers(-127, 128, shape).astype(np.int8), 0.01)
    channels = 2 if depthwise else 4
    block = file.constant(np.array([2, 3], np.int32))
    pads, cuts = (file.constant(np.array(each, np.int32)) for each in (paddings, crops))
    height, width = (size + sum(ends) for ends in paddings)
    spread = file.tensor([6, height // 2, width // 3, 2], "int8", _SCALE, _ZERO)
    file.operator(
        "SPACE_TO_BATCH_ND", [_source(file, 1, size, size, 2), block, pads], [spread], "SpaceToBatchNDOptions"
    )
    computed = file.tensor([6, height // 2 - 2, width // 3 - 2, channels], "int8", 0.1, -4)
    options = {"strideH": 1, "strideW": 1, "padding": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    options |= {"depthMultiplier": 1} if depthwise else {}
    table = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    bias = file.constant(np.arange(channels, dtype=np.int32) * 90, 0.0025)
    file.operator(name, [spread, weight, bias], [computed], table, options, 3)
    sizes = [n - taps - sum(ends) for n, taps, ends in zip((height, width), (4, 6), crops, strict=True)]
    file.operator(
        "BATCH_TO_SPACE_ND",
        [computed, block, cuts],
        [_sink(file, 1, *sizes, channels, scale=0.1, zero_point=-4)],
        "BatchToSpaceNDOptions",
    )


def _dilated_convolution(file: SchemaFile) -> None:
    _dilated(file, "CONV_2D", [[0, 0], [0, 0]], [[0, 1], [0, 2]], 12)


def _dilated_and_padded(file: SchemaFile) -> None:
    _dilated(file, "CONV_2D", [[2, 3], [3, 5]], [[0, 1], [0, 2]], 7)


def _dilated_depthwise(file: SchemaFile) -> None:
    _dilated(file, "DEPTHWISE_CONV_2D", [[0, 0], [0, 0]], [[0, 0], [0, 0]], 12)


def _dilated_along_one_axis(file: SchemaFile, pictures: int = 3) -> None:
    """As Keras writes a Conv1D over every third number, without a size of its batch if there is one picture."""
    block, none = file.constant(np.array([3], np.int32)), file.constant(np.zeros((1, 2), np.int32))
    spread, image = (file.tensor([pictures, *size], "int8", _SCALE, _ZERO) for size in ([6, 2], [1, 6, 2]))
    file.operator("SPACE_TO_BATCH_ND", [_source(file, 1, 18, 2), block, none], [spread], "SpaceToBatchNDOptions")
    file.operator("EXPAND_DIMS", [spread, file.constant(np.array(-3, np.int32))], [image], "ExpandDimsOptions")
    weight = file.constant(np.random.default_rng(0).integers(-127, 128, (4, 1, 3, 2)).astype(np.int8), 0.01)
    made, flat = (file.tensor([pictures, *size], "int8", 0.3, -4) for size in ([1, 4, 4], [4, 4]))
    options = {"strideH": 1, "strideW": 1, "padding": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    bias = file.constant(np.array([90, -90, 0, 7], np.int32), 0.0025)
    file.operator("CONV_2D", [image, weight, bias], [made], "Conv2DOptions", options, 3)
    file.operator("SQUEEZE", [made], [flat], "SqueezeOptions", {"squeezeDims": [1]})
    file.operator(
        "BATCH_TO_SPACE_ND",
        [flat, block, none],
        [_sink(file, 1, 12, 4, scale=0.3, zero_point=-4)],
        "BatchToSpaceNDOptions",
    )


_FILES: list[Callable[[SchemaFile], None]] = [
    _gather_runs_and_repeats, _gather_one_run, _gather_a_number, _gather_a_table, _depth_to_space, _space_to_depth,
    _reflected, _symmetric, _broadcast, _absolute, _absolute_of_int16, _elu, _onto_other_grids, _dilated_convolution,
    _dilated_depthwise, _dilated_along_one_axis,
]  # fmt: skip


@pytest.mark.parametrize("put", _FILES, ids=lambda put: put.__name__.strip("_"))
def test_the_integers_are_those_of_tflite_micro(put: Callable[[SchemaFile], None]) -> None:
    require_integers_of_tflm(file_of(put))


@pytest.mark.parametrize("pictures", [3, 1])
def test_a_convolution_along_one_axis_is_one_whatever_the_file_says_of_its_batch(pictures: int) -> None:
    graph = read_tflite(file_of(lambda file: _dilated_along_one_axis(file, pictures)), aligned=False)
    (convolution,) = (node for node in graph.nodes if node.op == "conv_2d")
    assert convolution.attrs["dilation_w"] == 3
    assert {node.op for node in graph.nodes} == {"conv_2d", "reshape"}


def test_what_a_dilated_convolution_is_padded_with_is_the_code_of_zero() -> None:
    """As LiteRT has it; TFLite Micro's SPACE_TO_BATCH_ND pads with a code that its preparation never sets."""
    file = SchemaFile()
    _dilated_and_padded(file)
    model = file.written()
    graph = read_tflite(model, aligned=False)
    (source,), (result,) = graph.inputs, graph.outputs
    shape = graph.values[source].shape[1:]
    codes = np.random.default_rng(0).integers(-128, 128, (8, *shape)).astype(np.int8)
    engine = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    engine.allocate_tensors()
    (fed,), (got,) = engine.get_input_details(), engine.get_output_details()
    outputs = []
    for sample in range(8):
        engine.set_tensor(fed["index"], codes[sample : sample + 1])
        engine.invoke()
        outputs.append(engine.get_tensor(got["index"]))
    expected = np.concatenate(outputs)
    np.testing.assert_array_equal(interpret(graph, (codes,))[result], expected)
    compiled = run_c("net", c_model("net", graph).files, graph, (codes,))
    np.testing.assert_array_equal(compiled[0], expected)


def test_what_does_not_fit_is_refused_by_operator_and_tensor() -> None:
    file = SchemaFile()
    _gathered(file, [2, 6], 1, 4, 2)
    with pytest.raises(BadModelFile, match=r"operator 0 .GATHER.: indices .2, 6. into axis 2 of tensor . 'x'"):
        read_tflite(file.written(), aligned=False)
    file = SchemaFile()
    _mirror(file, 0, [[0, 0], [4, 0], [0, 0], [0, 0]], (1, 8, 3, 2))
    with pytest.raises(BadModelFile, match=r"operator 0 .MIRROR_PAD.: paddings .* of tensor . 'x'"):
        read_tflite(file.written(), aligned=False)
