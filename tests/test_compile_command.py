"""``qtorch compile``: plain C of files that others made, against TFLite Micro's own answers to the very files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.boards import board
from export.c.compiled import c_compiler, compiled_c, run_c
from export.command_line.dispatch import main
from export.compiled_file.compared_inputs import compared_inputs
from export.compiled_file.compiled import compile_file
from export.compiled_file.given_inputs import given_inputs
from export.compiled_file.model_in_file import model_in_file
from export.compiled_file.proof import judged_c, judged_file, require_judge
from export.compiled_file.request import Request
from export.engines import TFLM
from export.engines.apart import run_apart
from export.graph.build import build, integer_graph
from export.graph.ir import Graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.editions.known import edition
from qtorch.errors import BadData, BadModelFile, ParityError
from tests.schema_file import SchemaFile

runtime = pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro").runtime
needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler")

RNG = np.random.default_rng(5)


def network() -> torch.fx.GraphModule:
    """A small convolutional network, calibrated."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 3, 3))
    x = torch.randn(32, 2, 6, 5)
    prepared = qtorch.prepare(net, x[:1])
    qtorch.calibrate(prepared, [x])
    return prepared


def of_another_writer(dtype: Literal["int8", "uint8"] = "int8") -> bytes:
    """A convolution, a RESHAPE without options, a fully connected layer; unaligned, with a converter's names."""
    file = SchemaFile()
    if dtype == "uint8":
        outer = file.tensor([1, 4, 3, 2], dtype, 0.05, 4 + 128, name="serving_default_image:0", end="input")
        x = file.tensor([1, 4, 3, 2], "int8", 0.05, 4, name="image")
        file.operator("QUANTIZE", [outer], [x])
    else:
        x = file.tensor([1, 4, 3, 2], dtype, 0.05, 4, name="serving_default_image:0", end="input")
    weight = file.constant(RNG.integers(-90, 90, (3, 2, 2, 2)).astype(np.int8), [0.01, 0.02, 0.03], name="w")
    bias = file.constant(np.array([50, -60, 7], np.int32), [0.0005, 0.001, 0.0015], name="b")
    y = file.tensor([1, 3, 2, 3], "int8", 0.11, -20, name="conv")
    padding = {"padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    file.operator("CONV_2D", [x, weight, bias], [y], "Conv2DOptions", padding, 3)
    flat = file.tensor([1, 18], "int8", 0.11, -20, name="flat")
    file.operator("RESHAPE", [y, file.constant(np.array([-1, 18], np.int32))], [flat])
    matrix = file.constant(RNG.integers(-90, 90, (2, 18)).astype(np.int8), 0.02, name="m")
    z = file.tensor([1, 2], "int8", 0.3, 5, name="StatefulPartitionedCall:0", end="output")
    file.operator("FULLY_CONNECTED", [flat, matrix, -1], [z], "FullyConnectedOptions", version=4)
    return file.written()


def sum_of_two() -> bytes:
    """Two inputs, added."""
    file = SchemaFile()
    left = file.tensor([1, 3], "int8", 0.1, 1, name="serving_default_left:0", end="input")
    right = file.tensor([1, 3], "int8", 0.2, 2, name="serving_default_right:0", end="input")
    total = file.tensor([1, 3], "int8", 0.3, 3, name="sum", end="output")
    file.operator("ADD", [left, right], [total], "AddOptions", {}, 2)
    return file.written()


def request(target: str = "host", **others: Any) -> Request:
    return Request("m", "m.tflite", board(target), edition(board(target).edition), **others)


def answers(model: bytes, *inputs: np.ndarray) -> np.ndarray:
    """TFLite Micro's own, one sample after another."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    found = []
    for sample in range(len(inputs[0])):
        for position, array in enumerate(inputs):
            interpreter.set_input(array[sample : sample + 1], position)
        interpreter.invoke()
        found.append(np.array(interpreter.get_output(0)))
    return np.concatenate(found)


def run(files: dict[str, str], graph: Graph, *codes: np.ndarray) -> np.ndarray:
    """What the written C gives."""
    return run_c("m", {name: text for name, text in files.items() if "_model." in name}, graph, codes)[0]


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".c", ".h")}


@needs_compiler
def test_an_own_export_compiled_again_gives_the_same_integers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tflite(integer_graph(network()))
    (tmp_path / "m.tflite").write_bytes(model)
    out = tmp_path / "out"
    assert main(["compile", str(tmp_path / "m.tflite"), "--out", str(out), "--samples", "200", "--tflite"]) == 0
    said = capsys.readouterr().out
    assert "compiled_c" in said
    assert "100.00%" in said
    codes = RNG.integers(-128, 128, (50, 6, 5, 2)).astype(np.int8)
    assert (run(texts(out), read_tflite(model), codes) == answers(model, codes)).all()
    assert (out / "m.tflite").read_bytes() == model
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["tflite_bytes"] == len(model)
    proof = json.loads((out / "parity.json").read_text())
    assert proof["engines"]["tflm"]["inputs"] == 200
    assert proof["engines"]["compiled_c"]["mismatches"] == 0
    assert "the model as plain C" in (out / "report.html").read_text()
    for header in ("quantization", "test_vectors", "arena", "op_resolver", "model_data", "layer_checks"):
        assert f"m_{header}.h" in metrics_files(out)


def metrics_files(out: Path) -> list[str]:
    return list(json.loads((out / "m_manifest.json").read_text())["files"])


@needs_compiler
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_the_c_of_another_writers_file_gives_what_tflm_makes_of_the_file(dtype: Literal["int8", "uint8"]) -> None:
    model = of_another_writer(dtype)
    given = RNG.integers(-128, 128, (40, 4, 3, 2)).astype(np.int8)
    taken = (given.astype(np.int16) + 128).astype(np.uint8) if dtype == "uint8" else given
    compiled = compile_file(model, request(samples=100), taken)
    assert compiled.engines["tflm"].inputs == 140
    assert compiled.metrics["c_tensors"][0]["scale"] == pytest.approx(0.05)
    files = {name: content.decode() for name, content in compiled.files.items() if name.endswith((".c", ".h"))}
    core = model_in_file(model, "m").core
    assert (run(files, core, given) == answers(model, taken)).all()
    assert ("uint8 codes less 128" in files["m_model.h"]) == (dtype == "uint8")
    assert "PyTorch" not in files["m_model.h"] + files["m_quantization.h"]


@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_keras_network_that_tensorflow_converted(tmp_path: Path) -> None:
    tensorflow = pytest.importorskip(
        "tensorflow", reason="TensorFlow is not installed: pip install qtorch-tflm[compare]"
    )
    keras = tensorflow.keras
    keras.utils.set_random_seed(1)
    net = keras.Sequential(
        [
            keras.layers.Input((8, 6, 1)),
            keras.layers.Conv2D(3, 3, padding="same", activation="relu"),
            keras.layers.DepthwiseConv2D(3, strides=2),
            keras.layers.Flatten(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    data = RNG.normal(size=(30, 1, 8, 6, 1)).astype(np.float32)
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(net)
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([each] for each in data)
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    floats = converter.convert()
    converter.inference_input_type = converter.inference_output_type = tensorflow.int8
    integers = converter.convert()
    for name, model in (("floats", floats), ("integers", integers)):
        (tmp_path / f"{name}.tflite").write_bytes(model)
        np.save(tmp_path / "x.npy", data[:, 0])
        words = ["compile", str(tmp_path / f"{name}.tflite"), "--out", str(tmp_path / name), "--name", "m"]
        assert main([*words, "--inputs", str(tmp_path / "x.npy"), "--samples", "100", "--tflite"]) == 0
        core = model_in_file(model, "m").core
        codes = core.values[core.inputs[0]].quantize(data[:, 0])
        mine = run(texts(tmp_path / name), core, codes)
        taken = data[:, 0] if name == "floats" else codes
        theirs = answers(model, taken)
        assert ((core.values[core.outputs[0]].dequantize(mine) if name == "floats" else mine) == theirs).all()
        again = (tmp_path / name / "m.tflite").read_bytes()
        assert (answers(again, taken) == theirs).all()
        assert len(again) < len(model)


@needs_compiler
def test_float_ends_take_real_values_or_codes() -> None:
    model = write_tflite(build(network(), io="float32"))
    read = model_in_file(model, "m")
    codes = RNG.integers(-128, 128, (9, 6, 5, 2)).astype(np.int8)
    real = read.core.values[read.core.inputs[0]].dequantize(codes)
    for given in (codes, real, real.astype(np.float64), codes.astype(np.int64)):
        (stored,) = given_inputs(given, read, "x.npy")
        assert stored.dtype == np.float32
        inputs = compared_inputs(read, (stored,), 20)
        assert (inputs.codes[0][:9] == codes).all()
        assert inputs.given == 9
    judge = require_judge("m")
    assert judged_file(read, inputs, judge).mismatches == 0
    assert inputs.outer_outputs[0].dtype == np.float32
    # What is drawn lies off the grid, so that QUANTIZE has something to round.
    drawn = inputs.outer[0][9:]
    assert (read.core.values[read.core.inputs[0]].dequantize(inputs.codes[0][9:]) != drawn).mean() > 0.9


def test_what_tflm_computes_otherwise_is_refused_with_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    model = of_another_writer()
    read = model_in_file(model, "m.tflite")
    for number, weight in ((0, "w"), (2, "m")):
        wrong = read.graph.values[weight].contents.copy()
        wrong.flat[0] ^= 1
        values = {**read.graph.values, weight: replace(read.graph.values[weight], data=wrong)}
        broken = replace(read, graph=replace(read.graph, values=values), core=replace(read.core, values=values))
        inputs = compared_inputs(broken, None, 100)
        operator = "CONV_2D" if weight == "w" else "FULLY_CONNECTED"
        with pytest.raises(ParityError, match=rf"first in operator {number} \({operator}\), tensor '") as refused:
            judged_file(broken, inputs, require_judge("m.tflite"))
        assert "integers" in str(refused.value)


@needs_compiler
def test_c_that_computes_otherwise_is_refused() -> None:
    read = model_in_file(of_another_writer(), "m.tflite")
    compiled = compile_file(read.data, request(samples=50))
    inputs = compared_inputs(read, None, 50)
    files = {name: compiled.files[name].decode() for name in ("m_model.c", "m_model.h")}
    begin = files["m_model.c"].index("{\n", files["m_model.c"].index("static const int8_t"))
    number = files["m_model.c"].index(",", begin)
    files["m_model.c"] = files["m_model.c"][:number] + "+1" + files["m_model.c"][number:]
    engine = compiled_c("m", files, read.core)
    assert engine is not None
    with pytest.raises(ParityError, match="the compiled C"):
        judged_c(engine, read, inputs)


def test_nothing_is_written_where_tflm_computes_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(of_another_writer())

    def broken(data: bytes, where: str, signature: str) -> Any:
        read = model_in_file(data, where, signature)
        values = dict(read.graph.values)
        values["w"] = replace(values["w"], data=-values["w"].contents)
        return replace(read, graph=replace(read.graph, values=values), core=replace(read.core, values=values))

    monkeypatch.setattr("export.compiled_file.compiled.model_in_file", broken)
    assert main(["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out")]) == 1
    assert "operator 0 (CONV_2D)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 4, 3), np.int8), r"expected shape \[N, 4, 3, 2\], N samples, got \[2, 4, 3\]"),
        (np.zeros((2, 4, 3, 2), bool), "expected codes"),
        (np.full((2, 4, 3, 2), 128, np.int16), "expected codes from -128 to 127"),
        (np.full((2, 4, 3, 2), np.nan, np.float32), "NaN or infinity"),
        (np.zeros((0, 4, 3, 2), np.int8), "at least one sample"),
    ],
)
def test_inputs_that_are_not_the_models_are_refused(given: np.ndarray, said: str) -> None:
    with pytest.raises(BadData, match=said):
        given_inputs(given, model_in_file(of_another_writer(), "m"), "x.npy")


def test_several_inputs_are_told_apart_by_name() -> None:
    read = model_in_file(sum_of_two(), "m")
    assert read.inputs == ("left", "right")
    left, right = (RNG.integers(-128, 128, (4, 3)).astype(np.int8) for _ in range(2))
    stored = given_inputs({"right": right, "left": left}, read, "x.npz")
    assert (stored[0] == left).all()
    assert (stored[1] == right).all()
    compiled = compile_file(read.data, request(samples=300), {"right": right, "left": left})
    assert compiled.engines["compiled_c"].inputs == 304
    assert "m_invoke(const int8_t *in_0, const int8_t *in_1, int8_t *out)" in compiled.files["m_model.h"].decode()
    for wrong in (left, {"left": left}, {"left": left, "right": right, "up": left}, {"a": left, "b": right}):
        with pytest.raises(BadData, match="an array for each of the inputs left, right"):
            given_inputs(wrong, read, "x.npz")
    with pytest.raises(BadData, match="as many samples of each input"):
        given_inputs({"left": left, "right": right[:2]}, read, "x.npz")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "out").write_text("a file"),
        lambda folder: (folder / "m.tflite").write_bytes(b"<html>"),
        lambda folder: (folder / "m.tflite").unlink(),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_leaves_nothing(
    spoil: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(of_another_writer())
    spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out")]) == 2
    assert "Remedy: " in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_floats_inside_are_refused_with_the_operator() -> None:
    file = SchemaFile()
    x = file.tensor([1, 3], "float32", name="x", end="input")
    file.operator("ADD", [x, x], [file.tensor([1, 3], "float32", name="y", end="output")], "AddOptions", {})
    with pytest.raises(BadModelFile, match=r"operator 0 \(ADD\), tensor 'y', in float32.*compile MODEL.tflite --data"):
        model_in_file(file.written(), "m.tflite")


def test_sums_that_leave_int32_are_refused_by_that_name() -> None:
    file = SchemaFile()
    x = file.tensor([1, 2], "int8", 0.05, 0, name="x", end="input")
    weight = file.constant(np.full((1, 2), 127, np.int8), 0.02)
    bias = file.constant(np.array([2**31 - 9], np.int32), 0.001)
    y = file.tensor([1, 1], "int8", 0.3, 0, name="y", end="output")
    file.operator("FULLY_CONNECTED", [x, weight, bias], [y], "FullyConnectedOptions", version=4)
    with pytest.raises(BadModelFile, match=r"sums that int32 holds, got .*TFLite Micro lets them wrap around"):
        compile_file(file.written(), request(samples=20))


@needs_compiler
def test_a_project_is_written_in_a_folder_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.tflite").write_bytes(of_another_writer())
    words = ["compile", str(tmp_path / "m.tflite"), "--samples", "64", "--out"]
    assert main([*words, str(tmp_path / "a"), "--target", "nano33ble", "--firmware", "tflm"]) == 0
    assert (tmp_path / "a" / "firmware" / "src" / "m_model_data.cpp").exists()
    assert main([*words, str(tmp_path / "b"), "--target", "uno", "--firmware", "c"]) == 0
    assert (tmp_path / "b" / "firmware" / "src" / "m_model.c").exists()
    assert not (tmp_path / "b" / "m_model_data.h").exists()
    assert main([*words, str(tmp_path / "c"), "--target", "uno", "--firmware", "tflm"]) == 2
    assert "--firmware c" in capsys.readouterr().err


def test_floats_that_no_row_reads_are_called_what_they_are() -> None:
    file = SchemaFile()
    x = file.tensor([1, 3], "float32", name="x", end="input")
    file.operator("COS", [x], [file.tensor([1, 3], "float32", name="y", end="output")])
    with pytest.raises(BadModelFile, match=r"got a float32 network: 1 COS.*Remedy: qtorch compile MODEL.tflite --data"):
        model_in_file(file.written(), "m.tflite")


def test_an_operator_of_integers_that_no_row_reads_is_named_with_a_remedy_for_any_file() -> None:
    file = SchemaFile()
    x = file.tensor([1, 3], "int8", 0.05, 0, name="x", end="input")
    file.operator("RANK", [x], [file.tensor([1, 3], "int8", 0.05, 0, name="y", end="output")])
    with pytest.raises(BadModelFile, match=r"operator 0 \(RANK\).*Remedy: write that part of the network"):
        model_in_file(file.written(), "m.tflite")


@needs_compiler
def test_vectors_begin_with_what_was_given() -> None:
    given = RNG.integers(-100, 100, (3, 4, 3, 2)).astype(np.int8)
    compiled = compile_file(of_another_writer(), request(samples=70), given)
    text = compiled.files["m_test_vectors.h"].decode()
    rows = text.partition("test_inputs[")[2].splitlines()[1:4]
    assert [[int(code) for code in row.strip(" {},").split(", ")] for row in rows] == given.reshape(3, -1).tolist()
    assert "_TEST_COUNT 32" in text


def with_the_first_constant_behind(file: SchemaFile) -> bytes:
    """As writers of large models put it: TFLite Micro takes the buffer to be empty."""
    buffer = next(each for each in file.model.buffers if each.data is not None)
    data, buffer.data = bytes(buffer.data), None
    # A number that is not written would be left out of the table.
    buffer.offset, buffer.size = 1, len(data)
    buffer.offset = -(-len(file.written()) // 16) * 16
    flatbuffer = file.written()
    return flatbuffer + b"\0" * (buffer.offset - len(flatbuffer)) + data


@pytest.mark.tflm
def test_constants_behind_the_flatbuffer_are_put_inside() -> None:
    """What is proven and written is what the file means, not what TFLite Micro makes of it."""
    file = SchemaFile()
    x = file.tensor([1, 6], "int8", 0.05, 3, name="x", end="input")
    matrix = file.constant(RNG.integers(-127, 128, (4, 6)).astype(np.int8), 0.02, name="m")
    y = file.tensor([1, 4], "int8", 0.1, -4, name="y", end="output")
    file.operator("FULLY_CONNECTED", [x, matrix, -1], [y], "FullyConnectedOptions", version=4)
    inside = file.written()
    outside = with_the_first_constant_behind(file)
    codes = RNG.integers(-128, 128, (20, 6)).astype(np.int8)
    (expected,) = run_apart(TFLM, inside, (codes,))
    assert (run_apart(TFLM, outside, (codes,))[0] != expected).any()
    compiled = compile_file(outside, request(samples=50, tflite=True), {"x": codes})
    assert compiled.metrics["moved_inside"] == 1
    np.testing.assert_array_equal(run_apart(TFLM, compiled.files["m.tflite"], (codes,))[0], expected)
    assert "moved_inside" not in compile_file(inside, request(samples=50)).metrics
