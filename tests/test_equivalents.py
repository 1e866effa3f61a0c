"""Files of other writers in operators that rows know: the integers are those that TFLite Micro computes of the file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.compiled_file.model_in_file import model_in_file
from export.graph.build import integer_graph
from export.parity.outputs import compare_graphs
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from tests.foreign_judge import file_of, require_integers_of_tflm
from tests.schema_file import SchemaFile

runtime = pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro").runtime

_SCALE = 0.25


def _source(file: SchemaFile, *shape: int, name: str = "x") -> int:
    return file.tensor(shape, "int8", _SCALE, 3, name=name, end="input")


def _same(file: SchemaFile, *shape: int, end: str = "output") -> int:
    return file.tensor(shape, "int8", _SCALE, 3, end=end)


def _reshape_without_options(file: SchemaFile) -> None:
    shape = file.constant(np.array([-1, 12], np.int32))
    file.operator("RESHAPE", [_source(file, 1, 3, 4), shape], [_same(file, 1, 12)])


def _squeeze(file: SchemaFile) -> None:
    file.operator(
        "SQUEEZE", [_source(file, 1, 3, 1, 4)], [_same(file, 1, 3, 4)], "SqueezeOptions", {"squeezeDims": [2]}
    )


def _expand_dims(file: SchemaFile) -> None:
    axis = file.constant(np.array(-2, np.int32))
    file.operator("EXPAND_DIMS", [_source(file, 1, 3, 4), axis], [_same(file, 1, 3, 1, 4)], "ExpandDimsOptions")


def _pack(file: SchemaFile) -> None:
    sources = [_source(file, 1, 3, 2, name=f"x{i}") for i in range(3)]
    file.operator("PACK", sources, [_same(file, 1, 3, 3, 2)], "PackOptions", {"axis": -2, "valuesCount": 3})


def _pack_of_many(file: SchemaFile) -> None:
    sources = [_source(file, 1, 2, name=f"x{i}") for i in range(23)]
    file.operator("PACK", sources, [_same(file, 1, 23, 2)], "PackOptions", {"axis": 1, "valuesCount": 23})


def _unpack(file: SchemaFile) -> None:
    sinks = [_same(file, 1, 4) for _ in range(3)]
    file.operator("UNPACK", [_source(file, 1, 3, 4)], sinks, "UnpackOptions", {"axis": -2, "num": 3})


def _steps_in_front_of_pictures(file: SchemaFile) -> None:
    """As ConvLSTM2D is written out: five axes, cut and joined along the first."""
    steps = [_same(file, 1, 4, 3, 2, end="") for _ in range(3)]
    file.operator("UNPACK", [_source(file, 3, 1, 4, 3, 2)], steps, "UnpackOptions", {"axis": 0, "num": 3})
    file.operator("PACK", steps[::-1], [_same(file, 3, 1, 4, 3, 2)], "PackOptions", {"axis": 0, "valuesCount": 3})


def _split_by_sizes(file: SchemaFile) -> None:
    sizes, axis = file.constant(np.array([1, -1, 2], np.int32)), file.constant(np.array(-1, np.int32))
    sinks = [_same(file, 1, 3, size) for size in (1, 4, 2)]
    file.operator("SPLIT_V", [_source(file, 1, 3, 7), sizes, axis], sinks, "SplitVOptions", {"numSplits": 3})


def _shape_of_a_dynamic_batch(file: SchemaFile) -> None:
    """As converters flatten: the batch's size out of SHAPE, packed with a number, is the shape of a RESHAPE."""
    x = _source(file, 1, 3, 4)
    shape = file.tensor([3], "int32")
    file.operator("SHAPE", [x], [shape], "ShapeOptions", {"outType": 2})
    one, zero, end = (file.constant(np.array([n], np.int32)) for n in (1, 0, 1))
    batch = file.tensor([], "int32")
    file.operator("STRIDED_SLICE", [shape, zero, end, one], [batch], "StridedSliceOptions", {"shrinkAxisMask": 1})
    length, packed = file.constant(np.array(12, np.int32)), file.tensor([2], "int32")
    file.operator("PACK", [batch, length], [packed], "PackOptions", {"valuesCount": 2})
    file.operator("RESHAPE", [x, packed], [_same(file, 1, 12)], "ReshapeOptions")


def _linear(file: SchemaFile, bias: int, output: int, scale: float | list[float] = 0.02, version: int = 4) -> None:
    rng = np.random.default_rng(1)
    weight = file.constant(rng.integers(-127, 128, (3, 4)).astype(np.int8), scale)
    inputs = [_source(file, 1, 4), weight, bias]
    file.operator("FULLY_CONNECTED", inputs, [output], "FullyConnectedOptions", version=version)


def _bias_without_scale(file: SchemaFile) -> None:
    """Of one scale per channel kernels never look at the bias's."""
    bias = file.constant(np.array([50, -700, 1000], np.int32))
    _linear(file, bias, file.tensor([1, 3], "int8", 0.09, -4, end="output"), [0.02, 0.01, 0.03], 12)


def _bias_beside_its_scale(file: SchemaFile) -> None:
    """A writer's product in float32 of what it had in double."""
    bias = file.constant(np.array([50, -700, 1000], np.int32), float(np.nextafter(np.float32(0.005), np.float32(1))))
    _linear(file, bias, file.tensor([1, 3], "int8", 0.09, -4, end="output"))


def _unsigned_ends(file: SchemaFile) -> None:
    x = file.tensor([1, 4], "uint8", 0.04, 130, end="input")
    held = file.tensor([1, 4], "int8", 0.05, -7)
    file.operator("QUANTIZE", [x], [held])
    file.operator("QUANTIZE", [held], [file.tensor([1, 4], "uint8", 0.05, 121, end="output")])


def _another_signature(file: SchemaFile) -> None:
    _squeeze(file)
    other = SchemaFile()
    _squeeze(other)
    file.model.subgraphs.append(other.graph)


def _maximum_without_options(file: SchemaFile) -> None:
    file.operator("MAXIMUM", [_source(file, 1, 4), _source(file, 1, 4, name="y")], [_same(file, 1, 4)])


def _time_in_front(file: SchemaFile) -> None:
    """As converters unroll a recurrent layer: time comes first, steps are cut out, and all are put together again."""
    x, turned = _source(file, 1, 3, 4), file.tensor([3, 1, 4], "int8", _SCALE, 3)
    perm = file.constant(np.array([1, 0, 2], np.int32))
    file.operator("TRANSPOSE", [x, perm], [turned], "TransposeOptions")
    steps = []
    for time in (2, 0, 1):
        box = [time, 0, 0], [time + 1, 0, 0], [1, 1, 1]
        begin, end, strides = (file.constant(np.array(each, np.int32)) for each in box)
        steps.append(file.tensor([1, 4], "int8", _SCALE, 3))
        masks = {"beginMask": 6, "endMask": 6, "shrinkAxisMask": 1}
        file.operator("STRIDED_SLICE", [turned, begin, end, strides], [steps[-1]], "StridedSliceOptions", masks)
    together = file.tensor([3, 4], "int8", _SCALE, 3)
    file.operator("CONCATENATION", steps, [together], "ConcatenationOptions", {"axis": 0})
    begin, size = (file.constant(np.array(v, np.int32)) for v in ([1, 0], [2, -1]))
    file.operator("SLICE", [together, begin, size], [_same(file, 2, 4)], "SliceOptions")


def _added_rows(file: SchemaFile) -> None:
    """Operands of fewer axes, a constant as long as the rows, and a vector without a batch."""
    x, y = _source(file, 3, 4), _source(file, 4, name="y")
    rows = file.constant(np.arange(3, dtype=np.int8).reshape(3, 1), _SCALE, zero_point=3)
    between = file.tensor([3, 4], "int8", 0.5, 1)
    file.operator("ADD", [x, y], [between], "AddOptions")
    file.operator("ADD", [between, rows], [_same(file, 3, 4)], "AddOptions")


def _softmax_of_a_vector(file: SchemaFile) -> None:
    output = file.tensor([5], "int8", 1 / 256, -128, end="output")
    file.operator("SOFTMAX", [_source(file, 5)], [output], "SoftmaxOptions", {"beta": 1.0})


def _batch_of_three(file: SchemaFile) -> None:
    rng = np.random.default_rng(2)
    weight = file.constant(rng.integers(-127, 128, (3, 4)).astype(np.int8), 0.02)
    output = file.tensor([3, 3], "int8", 0.1, -4, end="output")
    file.operator("FULLY_CONNECTED", [_source(file, 3, 4), weight, -1], [output], "FullyConnectedOptions", version=4)


def _batch_of_two_images(file: SchemaFile) -> None:
    rng = np.random.default_rng(3)
    x = _source(file, 2, 5, 5, 2)
    weight = file.constant(rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8), [0.01, 0.02, 0.03])
    convolved, pooled = file.tensor([2, 5, 5, 3], "int8", 0.5, -9), file.tensor([2, 2, 2, 3], "int8", 0.5, -9)
    options = {"strideH": 1, "strideW": 1, "padding": 0, "dilationHFactor": 1, "dilationWFactor": 1}
    file.operator("CONV_2D", [x, weight, -1], [convolved], "Conv2DOptions", options, 3)
    options = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2, "padding": 1}
    file.operator("AVERAGE_POOL_2D", [convolved], [pooled], "Pool2DOptions", options)
    axes = file.constant(np.array([1, 2], np.int32))
    output = file.tensor([2, 3], "int8", 0.4, 5, end="output")
    file.operator("MEAN", [pooled, axes], [output], "ReducerOptions")


def _unread_result(file: SchemaFile) -> None:
    x = _source(file, 1, 4)
    file.operator("ABS", [x], [file.tensor([1, 4], "int8", _SCALE, 3)])
    file.operator("RESHAPE", [x], [_same(file, 1, 2, 2)])


def _slice_of_rows(file: SchemaFile) -> None:
    """Every second column of three rows, which belong to one sample."""
    box = (file.constant(np.array(each, np.int32)) for each in ([0, -4], [3, 9], [1, 2]))
    masks = {"beginMask": 1, "endMask": 1}
    file.operator("STRIDED_SLICE", [_source(file, 3, 4), *box], [_same(file, 3, 2)], "StridedSliceOptions", masks)


def _unread_input(file: SchemaFile) -> None:
    _source(file, 2, 3, name="y")
    _squeeze(file)


def _outputs_again(file: SchemaFile) -> None:
    _squeeze(file)
    file.graph.outputs = [*file.graph.outputs * 2, 0]


def _sum_of_all(file: SchemaFile) -> None:
    """A number without an axis."""
    axes = file.constant(np.array([0, -1], np.int32))
    file.operator("SUM", [_source(file, 3, 4), axes], [file.tensor([], "int8", 2.0, 3, end="output")], "ReducerOptions")


def _dense_of_a_vector(file: SchemaFile) -> None:
    weight = file.constant(np.arange(-6, 6, dtype=np.int8).reshape(3, 4), 0.02)
    output = file.tensor([1, 3], "int8", 0.1, -4, end="output")
    file.operator("FULLY_CONNECTED", [_source(file, 4), weight, -1], [output], "FullyConnectedOptions", version=4)


def _mirror_without_options(file: SchemaFile) -> None:
    """Which is neither of the schema's modes to TFLite Micro, and computed as SYMMETRIC."""
    pads = file.constant(np.array([[0, 0], [2, 1]], np.int32))
    file.operator("MIRROR_PAD", [_source(file, 1, 4), pads], [_same(file, 1, 7)])


def _constants_beside(file: SchemaFile) -> None:
    """Outputs that are the same in every run: of the file, a number among them, and one that is known as it is read."""
    x = _source(file, 1, 2, 3)
    file.operator("RESHAPE", [x], [_same(file, 1, 6)])
    table = file.constant(np.arange(-3, 5, dtype=np.int8).reshape(2, 4), 0.5, zero_point=1)
    file.graph.outputs += [table, file.constant(np.array(7, np.int8), 0.5)]
    turned = file.tensor([4, 2], "int8", 0.5, 1, end="output")
    order = file.constant(np.array([1, 0], np.int32))
    file.operator("TRANSPOSE", [table, order], [turned], "TransposeOptions")


def _a_number_in_and_out(file: SchemaFile) -> None:
    file.operator("RELU", [_source(file)], [file.tensor([], "int8", 0.5, 1, end="output")])


_FILES: list[Callable[[SchemaFile], None]] = [
    _reshape_without_options, _squeeze, _expand_dims, _pack, _pack_of_many, _unpack, _split_by_sizes,
    _shape_of_a_dynamic_batch, _bias_without_scale, _bias_beside_its_scale, _unsigned_ends, _another_signature,
    _unread_result, _maximum_without_options, _time_in_front, _added_rows, _softmax_of_a_vector, _batch_of_three,
    _batch_of_two_images, _slice_of_rows, _unread_input, _outputs_again, _sum_of_all, _dense_of_a_vector,
    _mirror_without_options, _constants_beside, _a_number_in_and_out, _steps_in_front_of_pictures,
]  # fmt: skip


@pytest.mark.parametrize("put", _FILES, ids=lambda put: put.__name__.strip("_"))
def test_the_integers_are_those_of_tflite_micro(put: Callable[[SchemaFile], None]) -> None:
    require_integers_of_tflm(file_of(put))


def test_unsigned_ends_are_named() -> None:
    file = SchemaFile()
    _unsigned_ends(file)
    graph = read_tflite(file.written(), aligned=False)
    assert graph.shifted == {*graph.inputs, *graph.outputs}
    assert graph.values[graph.inputs[0]].quantization.zero_point == (2,)


def test_a_file_of_this_project_is_read_the_same_either_way() -> None:
    layers = nn.Conv2d(2, 3, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 4)
    x = torch.randn(4, 2, 8, 8)
    network = qtorch.prepare(nn.Sequential(*layers), x[:1]).eval()
    qtorch.calibrate(network, [x])
    model = write_tflite(integer_graph(network))
    strict, any_form = read_tflite(model), read_tflite(model, aligned=False)
    assert not compare_graphs(strict, any_form).first
    assert list(strict.values) == list(any_form.values)


@pytest.mark.parametrize(
    ("sizes", "words"), [((1, 2, 2), "in pieces that end at 5 along axis 2"), ((1, 4, 4), "in pieces that end at 9")]
)
def test_pieces_that_are_not_the_whole_are_refused_by_operator_and_tensor(sizes: tuple[int, ...], words: str) -> None:
    file = SchemaFile()
    given, axis = file.constant(np.array(sizes, np.int32)), file.constant(np.array(2, np.int32))
    sinks = [_same(file, 1, 3, size) for size in sizes]
    file.operator("SPLIT_V", [_source(file, 1, 3, 7), given, axis], sinks, "SplitVOptions", {"numSplits": 3})
    with pytest.raises(BadModelFile, match="operator 0 .SPLIT_V.: tensor . 'x' of .1, 3, 7. " + words):
        read_tflite(file.written(), aligned=False)


def test_elements_that_do_not_fit_the_shape_are_refused() -> None:
    file = SchemaFile()
    file.operator("RESHAPE", [_source(file, 1, 3, 4)], [_same(file, 1, 13)])
    with pytest.raises(BadModelFile, match=r"operator 0 \(RESHAPE\): tensor 0 'x' of shape \(1, 3, 4\) as tensor 1"):
        read_tflite(file.written(), aligned=False)


def _of_one(name: str, table: str, dtype: str, version: int = 1) -> bytes:
    file = SchemaFile()
    file.operator(name, [_source(file, 1, 4)], [file.tensor([1, 4], dtype, 0.5, 0, end="output")], table, {}, version)
    return file.written()


def test_what_no_device_runs_is_told_in_the_words_of_tflite_micro() -> None:
    with pytest.raises(
        BadModelFile, match=r"operator 0 .EXP.*does not run there either: .*exp.cc.*INT8 != FLOAT32"
    ) as no:
        model_in_file(_of_one("EXP", "ExpOptions", "int8"), "m.tflite")
    assert no.value.expected == "a network that TFLite Micro runs"


def test_a_file_that_takes_a_number_without_axes_is_refused_by_its_operator() -> None:
    """TFLite Micro runs it, and is asked with one number."""
    file = SchemaFile()
    x, number = file.tensor([1, 6, 4], "int8", 0.5, 0, end="input"), file.tensor([], "int32", name="n", end="input")
    begin, zero = file.tensor([3], "int32"), file.constant(np.array(0, np.int32))
    file.operator("PACK", [zero, number, zero], [begin], "PackOptions", {"valuesCount": 3})
    size = file.constant(np.array([1, 2, 4], np.int32))
    file.operator("SLICE", [x, begin, size], [file.tensor([1, 2, 4], "int8", 0.5, 0, end="output")], "SliceOptions")
    with pytest.raises(BadModelFile, match=r"operator 1 .SLICE.: tensor \d .*, which is computed") as no:
        model_in_file(file.written(), "m.tflite")
    assert "does not run" not in no.value.got


@pytest.mark.parametrize("runs", [True, False], ids=["runs", "does not run"])
def test_a_layer_that_gave_nothing_is_named_with_what_to_do(runs: bool) -> None:
    """Converters give a range of 0 alone a scale of next to nothing, to which no kernel rescales."""
    file = SchemaFile()
    x = _source(file, 1, 4)
    dead = file.tensor([1, 3], "int8", 7.8e-9, 0, name="dead", **({"end": "output"} if runs else {}))
    weights = file.constant(np.ones((3, 4), np.int8), 0.5)
    file.operator("FULLY_CONNECTED", [x, weights, -1], [dead], "FullyConnectedOptions")
    if not runs:
        made = file.tensor([1, 3], "int8", 0.5, 0, end="output")
        file.operator("EXP", [dead], [made], "ExpOptions")
    words = r"expected a scale above|EXP" if runs else "EXP"
    with pytest.raises(BadModelFile, match=words) as no:
        model_in_file(file.written(), "m.tflite")
    assert ("'dead' reaches from -2e-06 to 2e-06" in no.value.remedy) == runs


@pytest.mark.parametrize("name", ["SPACE_TO_DEPTH", "DEPTH_TO_SPACE"])
def test_blocks_of_no_image_are_refused_in_words(name: str) -> None:
    table = "".join(part.capitalize() for part in name.split("_")) + "Options"
    with pytest.raises(BadModelFile, match=rf"operator 0 .{name}.: tensor 0 'x' of \(1, 4\): expected 4 axes"):
        model_in_file(_of_one(name, table, "int8"), "m.tflite")


def test_what_a_device_runs_is_only_not_known_here() -> None:
    with pytest.raises(BadModelFile, match=r"got tensor 1 'tensor_1' of bool; known here are") as unknown:
        model_in_file(_of_one("CAST", "CastOptions", "bool"), "m.tflite")
    assert "TFLite Micro" not in unknown.value.got
