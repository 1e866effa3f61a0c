"""Files whose operators can't have their shapes, attributes or options, and those that say legal ones in another way.

Each is the file of a row's sample with one thing changed. What is refused, is refused with the operator, what was
expected and what came; what is taken, TFLite Micro computes to the same codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.engines.tflm import tflm_available
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.rows.samples import sample_graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from qtorch.ops import ROWS
from tests.foreign_models import foreign_model
from tests.tflm_apart import TflmApart

Change = Callable[[Any, Any], None]


def changed(op: str, number: int, change: Change) -> bytes:
    """The file of a row's sample; ``change`` gets its one operator and the list of its tensors' contents to change."""
    row = ROWS[op]
    sample = list(row.samples())[number]
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(write_tflite(sample_graph(row, sample)))))
    (graph,) = model.subgraphs
    change(graph.operators[-1], Tensors(model))
    return foreign_model(model)


class Tensors:
    """Of a file's one operator."""

    def __init__(self, model: Any) -> None:
        self.model, self.graph = model, model.subgraphs[0]
        self.operator = self.graph.operators[-1]

    def input(self, position: int) -> Any:
        """The schema's object."""
        return self.graph.tensors[self.operator.inputs[position]]

    def output(self, position: int = 0) -> Any:
        """The schema's object."""
        return self.graph.tensors[self.operator.outputs[position]]

    def say(self, position: int, *numbers: Any) -> None:
        """Other contents of a constant int32 tensor, in a buffer of their own."""
        array = np.array(numbers, np.int32)
        self._hold(self.input(position), array)

    def _hold(self, tensor: Any, array: np.ndarray) -> None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.buffer, tensor.shape = len(self.model.buffers) - 1, list(array.shape)

    def resize(self, tensor: Any, *shape: int) -> None:
        """Another shape, and codes of it where there are some."""
        tensor.shape = list(shape)
        if tensor.buffer:
            dtype = {schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}[tensor.type]
            self._hold(tensor, np.ones(shape, dtype))


def option(**values: Any) -> Change:
    """Other options."""

    def change(operator: Any, tensors: Tensors) -> None:
        for name, value in values.items():
            assert hasattr(operator.builtinOptions, name), name
            setattr(operator.builtinOptions, name, value)

    return change


def says(position: int, *numbers: Any) -> Change:
    """Another vector of indices."""
    return lambda operator, tensors: tensors.say(position, *numbers)


def of_shape(position: int, *shape: int) -> Change:
    """Another shape of an input."""
    return lambda operator, tensors: tensors.resize(tensors.input(position), *shape)


def gives(*shape: int, at: int = 0) -> Change:
    """Another shape of an output."""
    return lambda operator, tensors: tensors.resize(tensors.output(at), *shape)


def channels(count: int) -> Change:
    """Another number of scales of the weight."""

    def change(operator: Any, tensors: Tensors) -> None:
        quantization = tensors.input(1).quantization
        quantization.scale, quantization.zeroPoint = [0.02] * count, [0] * count

    return change


def several(*changes: Change) -> Change:
    """One after the other."""

    def change(operator: Any, tensors: Tensors) -> None:
        for each in changes:
            each(operator, tensors)

    return change


# Row, number of its sample, what is changed, words of the refusal.
REFUSED: list[tuple[str, int, Change, str]] = [
    ("strided_slice", 0, says(1, 0), "begin with a number for each of 4 axes, got begin (0,)"),
    ("strided_slice", 0, says(2, 1, 3, 4), "end with a number for each of 4 axes"),
    ("strided_slice", 0, says(3, 1, 0, 1, 1), "a slice forwards and inside of axis 1"),
    ("strided_slice", 0, option(ellipsisMask=2), "STRIDED_SLICE with EllipsisMask 2: expected 0"),
    ("strided_slice", 0, option(newAxisMask=1), "STRIDED_SLICE with NewAxisMask 1: expected 0"),
    ("strided_slice", 0, option(offset=True), "STRIDED_SLICE with Offset True: expected False"),
    ("strided_slice", 0, option(shrinkAxisMask=1 << 5), "dropped axes among 4"),
    ("strided_slice", 0, gives(1, 2, 2, 3), "expected outputs of ((1, 2, 2, 2),), got ((1, 2, 2, 3),)"),
    ("slice", 0, says(2, -1, 2, 5, 1), "a slice inside of axis 2, which has 4, got 5 from 0 on"),
    ("slice", 0, says(1, 0, -1, 0, 2), "a slice inside of axis 1, which has 3, got 2 from -1 on"),
    ("slice", 0, says(2, -1, 2), "size with a number for each of 4 axes, got size (-1, 2)"),
    ("transpose", 1, says(1, 0, 3, 3, 2), "each axis from 0 to 3 once, got perm (0, 3, 3, 2)"),
    ("transpose", 1, says(1, 0, 3, 1, 4), "each axis from 0 to 3 once"),
    ("transpose", 1, says(1, 0, 3, 1), "each axis from 0 to 3 once"),
    ("concatenation", 0, option(axis=9), "an axis from 1 to 3, got axis 9"),
    ("concatenation", 0, option(fusedActivationFunction=1), "CONCATENATION with FusedActivationFunction 1: expected 0"),
    ("concatenation", 0, of_shape(1, 1, 3, 4, 6), "shapes equal but for axis 1"),
    ("split", 0, says(0, 7), "an axis from 1 to 3, got axis 7"),
    ("split", 0, option(numSplits=3), "a number of parts that divides 4, got 3"),
    ("split", 0, option(numSplits=0), "a number of parts that divides 4, got 0"),
    ("mean", 0, says(1, 1, 5), "an axis from 1 to 3, got axis 5"),
    ("mean", 0, gives(1, 6), "expected outputs of ((1, 1, 1, 5),), got ((1, 6),)"),
    ("reverse_v2", 3, says(1, 1, 1), "each axis once"),
    ("arg_max", 1, says(1, 4), "an axis from 1"),
    ("reshape", 0, gives(1, 25), "of shape (1, 2, 3, 4) as tensor 1 of (1, 25)"),
    ("pad", 0, says(1, [0, 0]), "a pair of numbers from 0 on for each of 2 axes"),
    ("pad", 0, says(1, [0, 0], [-1, 3]), "a pair of numbers from 0 on"),
    ("conv_2d", 0, option(strideH=0), "stride_h from 1 to 32767, got 0"),
    ("conv_2d", 0, option(strideW=65536), "stride_w from 1 to 32767, got 65536"),
    ("conv_2d", 0, option(dilationHFactor=65536), "dilation_h from 1 to 32767"),
    ("conv_2d", 0, option(dilationWFactor=-1), "dilation_w from 1 to 32767, got -1"),
    ("conv_2d", 0, option(fusedActivationFunction=4), "CONV_2D with TANH fused"),
    ("conv_2d", 0, option(fusedActivationFunction=5), "CONV_2D with SIGN_BIT fused"),
    ("conv_2d", 0, of_shape(1, 6, 3, 3, 3), "a weight of a depth that divides the input's 4"),
    ("conv_2d", 0, of_shape(1, 6, 7, 3, 4), "a window that fits in an image of (5, 7), got one of (7, 3)"),
    ("conv_2d", 9, of_shape(2, 5), "a bias of shape (1,)"),
    ("conv_2d", 0, channels(5), "expected 6 scales along axis 0"),
    ("depthwise_conv_2d", 2, option(depthMultiplier=2), "2 input channels times the depth multiplier 2"),
    ("depthwise_conv_2d", 2, option(depthMultiplier=0), "depth_multiplier from 1 to 32767, got 0"),
    ("fully_connected", 0, of_shape(0, 1, 8), "an input of rows of 7 elements, as its weight, got 8"),
    ("fully_connected", 0, option(weightsFormat=1), "FULLY_CONNECTED with WeightsFormat 1: expected 0"),
    ("fully_connected", 1, of_shape(1, 7, 5), "a bias of shape (7,)"),
    ("average_pool_2d", 0, option(filterHeight=0), "filter_h from 1"),
    ("average_pool_2d", 0, option(filterHeight=9), "a window that fits in an image of (4, 6)"),
    ("max_pool_2d", 0, option(strideW=-1), "stride_w from 1"),
    ("transpose_conv", 0, says(0, 1, 10, 12, 5), "an output shape of the weight's 4 channels"),
    ("transpose_conv", 0, option(strideH=65536), "stride_h from 1 to 32767"),
    ("resize_bilinear", 0, says(1, 6, 0), "a size of two numbers of at least 1"),
    ("resize_bilinear", 0, option(alignCorners=True, halfPixelCenters=True), "one of align_corners"),
    ("add", 0, of_shape(0, 1, 2, 7, 2), "shapes of which each axis has one size, or 1"),
    ("gather", 1, option(axis=1), "GATHER with Axis 1: expected 0"),
    ("gather", 1, option(batchDims=1), "GATHER with BatchDims 1: expected 0"),
    ("batch_matmul", 0, option(adjX=True), "matrices"),
    ("unidirectional_sequence_lstm", 0, option(diagonalRecurrentTensors=True), "DiagonalRecurrentTensors True"),
    ("prelu", 0, of_shape(1, 9), "shapes of which each axis has one size, or 1"),
]


@pytest.mark.parametrize(("op", "number", "change", "words"), REFUSED)
def test_what_no_kernel_computes_is_refused_by_name(op: str, number: int, change: Change, words: str) -> None:
    file = changed(op, number, change)
    with pytest.raises(BadModelFile) as refused:
        read_tflite(file, aligned=False)
    assert words in str(refused.value)
    assert any(where in str(refused.value) for where in (op, op.upper(), "tensor 1"))


# Row, number of its sample, what is changed.
OTHERWISE_SAID: list[tuple[str, int, Change]] = [
    ("mean", 0, says(1, -3, 2)),
    ("mean", 1, says(1, 2, -3, 1)),
    ("mean", 4, says(1, -1)),
    ("reduce_max", 0, says(1, -2, -3)),
    ("concatenation", 0, option(axis=-3)),
    ("concatenation", 1, option(axis=-1)),
    ("split", 0, says(0, -3)),
    ("split", 2, says(0, -1)),
    ("arg_max", 2, says(1, -2)),
    ("reverse_v2", 3, says(1, -1, 1)),
    ("slice", 0, says(2, 1, 2, -1, 1)),
    ("slice", 2, says(2, -1, 1, 2, -1)),
    ("strided_slice", 0, says(1, 0, -2, -4, -5)),
    ("strided_slice", 0, says(2, 9, 9, 9, 9)),
    ("strided_slice", 0, says(2, -7, 3, 4, 5)),
    ("strided_slice", 0, option(beginMask=0b1101, endMask=0b1111)),
    ("strided_slice", 2, says(1, 0, -1, 0, 1)),
    ("strided_slice", 3, says(2, 1, 3, 0, 0)),
    ("average_pool_2d", 0, option(fusedActivationFunction=1)),
    ("average_pool_2d", 4, option(fusedActivationFunction=3)),
    ("max_pool_2d", 1, option(fusedActivationFunction=1)),
    ("max_pool_2d", 2, option(fusedActivationFunction=3)),
    ("conv_2d", 0, option(fusedActivationFunction=2)),
    ("fully_connected", 0, option(fusedActivationFunction=2)),
    ("average_pool_2d", 0, option(fusedActivationFunction=2)),
    ("add", 0, option(fusedActivationFunction=2)),
    ("add", 0, option(potScaleInt16=False)),
    ("fully_connected", 0, option(asymmetricQuantizeInputs=True)),
    ("fully_connected", 0, option(quantizedBiasType=schema.TensorType.INT32)),
    ("transpose_conv", 0, option(quantizedBiasType=schema.TensorType.INT32)),
]


@pytest.fixture(scope="module")
def tflm() -> Iterator[TflmApart]:
    """In a process of its own."""
    if not tflm_available():
        pytest.skip("TFLite Micro does not run here")
    running = TflmApart()
    yield running
    running.close()


def random_inputs(graph: Graph) -> tuple[np.ndarray, ...]:
    """Codes of one sample."""
    rng = np.random.default_rng(3)
    inputs = (graph.values[name] for name in graph.inputs)
    return tuple(rng.integers(*v.quantization.code_range, v.shape, dtype=v.dtype, endpoint=True) for v in inputs)


def with_its_output(op: str, number: int, change: Change) -> tuple[bytes, Graph]:
    """The file and its graph; an output that has another shape then, gets that which the refusal says."""
    file, why = changed(op, number, change), ""
    try:
        return file, read_tflite(file, aligned=False)
    except BadModelFile as error:
        why = str(error)
    found = re.search(r"expected outputs of \(\(([\d, ]+)\),\)", why)
    assert found, why
    file = changed(op, number, several(change, gives(*(int(size) for size in found[1].split(",") if size.strip()))))
    return file, read_tflite(file, aligned=False)


@pytest.mark.parametrize(("op", "number", "change"), OTHERWISE_SAID)
def test_what_is_said_in_another_way_is_what_tflite_micro_computes(
    op: str, number: int, change: Change, tflm: TflmApart
) -> None:
    file, graph = with_its_output(op, number, change)
    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)
    got = tflm(file, inputs)
    assert all(np.array_equal(expected[name], array) for name, array in zip(graph.outputs, got, strict=True))


# Row, number of its sample, what is changed: ops along the first axis.
FIRST_AXIS: list[tuple[str, int, Change]] = [
    ("transpose", 0, several(of_shape(0, 2, 3, 4), says(1, 1, 0, 2), gives(3, 2, 4))),
    ("slice", 0, several(of_shape(0, 4, 3, 4, 5), says(1, 1, 0, 0, 2), says(2, 2, 3, -1, 3), gives(2, 3, 4, 3))),
    ("mean", 2, several(of_shape(0, 6, 5), says(1, 0), gives(1, 5))),
    ("reduce_max", 12, several(of_shape(0, 6, 5), says(1, -2), gives(1, 5))),
    ("concatenation", 0, several(option(axis=0), of_shape(0, 3, 4), of_shape(1, 2, 4), gives(5, 4))),
    (
        "split",
        0,
        several(
            of_shape(1, 4, 3),
            says(0, 0),
            lambda o, t: t.resize(t.output(0), 2, 3),
            lambda o, t: t.resize(t.output(1), 2, 3),
        ),
    ),
    ("pad", 0, several(of_shape(0, 2, 4), says(1, [1, 2], [0, 1]), gives(5, 5))),
    ("reverse_v2", 0, several(of_shape(0, 5, 3), says(1, 0), gives(5, 3))),
    ("arg_max", 0, several(of_shape(0, 5, 3), says(1, 0), gives(3))),
    ("softmax", 0, several(of_shape(0, 12), gives(12))),
    ("batch_matmul", 0, several(of_shape(0, 4, 5), of_shape(1, 5, 6), gives(4, 6))),
    (
        "strided_slice",
        0,
        several(
            of_shape(0, 4, 3), says(1, -3, 0), says(2, 4, 3), says(3, 2, 1), option(beginMask=2, endMask=2), gives(2, 3)
        ),
    ),
    (
        "strided_slice",
        0,
        several(
            of_shape(0, 4, 3),
            says(1, 2, 0),
            says(2, 3, 3),
            says(3, 1, 1),
            option(beginMask=0, endMask=0, shrinkAxisMask=1),
            gives(3),
        ),
    ),
]


@pytest.mark.parametrize(("op", "number", "change"), FIRST_AXIS)
def test_ops_along_the_first_axis_are_done_further_behind(
    op: str, number: int, change: Change, tflm: TflmApart
) -> None:
    """One inference of TFLite Micro's, and two samples at once of ours, of which none mixes with the other."""
    file = changed(op, number, change)
    graph = read_tflite(file, aligned=False)
    assert [node.op for node in graph.nodes if node.op != "reshape"] == [op]
    inputs = random_inputs(graph)
    got = tflm(file, inputs)
    twice = interpret(graph, tuple(np.concatenate([array, array]) for array in inputs))
    for name, array in zip(graph.outputs, got, strict=True):
        assert np.array_equal(twice[name], np.concatenate([array, array]))
