"""What a file is, in words: each kind of file that is none of integers is called by its name, with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.__main__ import main as export_main
from export.tflite.contents import read_contents
from export.tflite.file_form import file_form, require_integers, require_on_tflm
from qtorch.errors import BadModelFile
from tests.foreign_models import FOREIGN, foreign_model
from tests.small_files import Op, Tensor, small_file

_DENSE = "FullyConnectedOptions"


def _dense(
    dtype: str, held: np.ndarray, zero_point: int = 0, scaled: bool = True, first: str = "FULLY_CONNECTED"
) -> bytes:
    """One dense layer of 4 to 2: activations of ``dtype``, weights as they are held."""
    grid = {"scale": [0.5], "zero_point": [zero_point]} if dtype not in ("float32",) else {}
    weight_grid = {"scale": [0.25], "zero_point": [0]} if scaled else {}
    tensors = [
        Tensor(dtype, [1, 4], name="x", **grid),
        Tensor(held.dtype.name, [2, 4], held, name="w", **weight_grid),
        Tensor(dtype, [1, 2], name="y", **grid),
    ]
    return small_file(tensors, [Op("FULLY_CONNECTED", [0, 1, -1], [2], _DENSE)], [0], [2])


def _unpacked(held: np.ndarray, operator: str = "DEQUANTIZE", scaled: bool = False) -> bytes:
    """A dense layer in float32 whose weights an operator makes of what is held."""
    grid = {"scale": [0.25], "zero_point": [0]} if scaled else {}
    tensors = [
        Tensor("float32", [1, 4]), Tensor(held.dtype.name, [2, 4], held, **grid), Tensor("float32", [2, 4]),
        Tensor("float32", [1, 2]),
    ]  # fmt: skip
    return small_file(tensors, [Op(operator, [1], [2]), Op("FULLY_CONNECTED", [0, 2, -1], [3], _DENSE)], [0], [3])


def _custom(name: str, result: str = "float32") -> bytes:
    tensors = [Tensor("int8", [1, 4], scale=[0.5], name="boxes"), Tensor(result, [1, 4], name="found")]
    return small_file(tensors, [Op(f"CUSTOM:{name}", [0], [1])], [0], [1])


def _partly() -> bytes:
    """A dense layer of integers, and behind DEQUANTIZE a function of floats."""
    grid = {"scale": [0.5], "zero_point": [0]}
    tensors = [
        Tensor("int8", [1, 4], **grid), Tensor("int8", [2, 4], np.ones((2, 4), np.int8), **grid),
        Tensor("int8", [1, 2], **grid), Tensor("float32", [1, 2]), Tensor("float32", [1, 2]),
    ]  # fmt: skip
    operators = [
        Op("FULLY_CONNECTED", [0, 1, -1], [2], _DENSE), Op("DEQUANTIZE", [2], [3]), Op("LOG_SOFTMAX", [3], [4])
    ]  # fmt: skip
    return small_file(tensors, operators, [0], [4])


def _softmax_of_int16() -> bytes:
    """int16 codes from -32768 on, as TFLite Micro's SOFTMAX writes them of int8."""
    tensors = [
        Tensor("int8", [1, 4], scale=[0.1]), Tensor("int16", [1, 4], scale=[1 / 65536], zero_point=[-32768]),
        Tensor("int8", [1, 4], scale=[1 / 256], zero_point=[-128]),
    ]  # fmt: skip
    return small_file(
        tensors, [Op("SOFTMAX", [0], [1], "SoftmaxOptions", {"beta": 1.0}), Op("QUANTIZE", [1], [2])], [0], [2]
    )


def _convolution(zero_point: int) -> bytes:
    """A convolution of one pixel by weights with a zero point."""
    tensors = [
        Tensor("int8", [1, 1, 1, 4], scale=[0.5], name="x"),
        Tensor("int8", [2, 1, 1, 4], np.ones((2, 1, 1, 4), np.int8), scale=[0.25], zero_point=[zero_point], name="w"),
        Tensor("int8", [1, 1, 1, 2], scale=[0.5]),
    ]  # fmt: skip
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    return small_file(tensors, [Op("CONV_2D", [0, 1, -1], [2], "Conv2DOptions", options)], [0], [2])


_CODES, _NUMBERS = np.ones((2, 4), np.int8), np.ones((2, 4), np.float32)
#: File, its form, and a word of what is said.
_FILES = {
    "int8": (_dense("int8", _CODES), "integers", "network of int8"),
    "dynamic_range": (_dense("float32", _CODES), "dynamic range", "representative_dataset"),
    "float32": (_dense("float32", _NUMBERS, scaled=False), "float32", "1 FULLY_CONNECTED"),
    "float16": (_unpacked(np.ones((2, 4), np.float16)), "float16", "held in float16"),
    "weights_only": (_unpacked(_CODES, scaled=True), "weights only", "held in integers"),
    "sparse": (_unpacked(_NUMBERS, "DENSIFY"), "sparse", "1 sparse constants behind DENSIFY"),
    "uint8": (_dense("uint8", np.ones((2, 4), np.uint8), 128), "uint8", "TensorFlow 1"),
    "int16": (_dense("int16", _CODES), "integers", "network of int16"),
    "int16_shifted": (_dense("int16", _CODES, 3), "int16 with zero points", "'x' has 3"),
    "weights_shifted": (_convolution(5), "weights with zero points", "'w' has 5"),
    "int16_of_softmax": (_softmax_of_int16(), "integers", "network of int16 and int8"),
    "detection": (_custom("TFLite_Detection_PostProcess"), "detection", "cut the file before it, at 'boxes'"),
    "flex": (_custom("FlexErf"), "TensorFlow operators", "1 FlexErf"),
    "custom": (_custom("PosenetDecoderOp"), "custom operators", "1 PosenetDecoderOp"),
    "of_tflm": (_custom("CIRCULAR_BUFFER", "int8"), "integers", "network of int8"),
    "front_end": (_custom("SignalStacker", "int16"), "audio front end", "the network behind it"),
    "known_front_end": (_custom("SignalWindow", "int16"), "integers", "network of int8"),
    "vela": (_custom("ethos-u"), "compiled for a processor", "the .tflite file that Vela was given"),
    "edge_tpu": (_custom("edgetpu-custom-op"), "compiled for a processor", "Edge TPU"),
    "loop": (foreign_model(FOREIGN["two_subgraphs"]()), "loop", "unroll=True"),
    "partly_float": (_partly(), "partly float", "1 LOG_SOFTMAX, beside 1 FULLY_CONNECTED"),
}


@pytest.mark.parametrize("name", _FILES)
def test_each_kind_is_called_by_its_name(name: str) -> None:
    model, form, word = _FILES[name]
    contents = read_contents(model)
    found = file_form(contents)
    assert found.form == form
    assert word in found.sentence
    if form == "integers":
        require_integers(contents, "m.tflite")
        assert not found.remedy
        return
    with pytest.raises(BadModelFile) as refused:
        require_integers(contents, "m.tflite")
    assert word in str(refused.value)
    assert str(refused.value).startswith("m.tflite: expected a network of integers, got a")
    assert "Remedy: " in str(refused.value)


@pytest.mark.parametrize("name", ["dynamic_range", "float16", "sparse", "uint8", "flex"])
def test_tflm_refuses_what_is_said_to_have_no_kernels(name: str) -> None:
    """TFLite Micro itself is asked; of what is not said to be so, it takes what has no custom operators."""
    runtime = pytest.importorskip("tflite_micro").runtime
    model, *_ = _FILES[name]
    with pytest.raises(BadModelFile):
        require_on_tflm(read_contents(model), "m")
    with pytest.raises(RuntimeError):
        _run(runtime, model)


@pytest.mark.parametrize(
    "name", ["int8", "int16", "int16_shifted", "int16_of_softmax", "float32", "weights_only", "partly_float"]
)
def test_what_tflm_takes_is_not_said_to_have_no_kernels(name: str) -> None:
    runtime = pytest.importorskip("tflite_micro").runtime
    model, *_ = _FILES[name]
    require_on_tflm(read_contents(model), "m")
    _run(runtime, model)


def test_tflm_passes_over_zero_points_of_a_convolution() -> None:
    """What is said of such files, of whose convolutions no number is what it means."""
    runtime = pytest.importorskip("tflite_micro").runtime
    given = np.arange(4, dtype=np.int8).reshape(1, 1, 1, 4)
    found = []
    for zero_point in (0, 5):
        interpreter = runtime.Interpreter.from_bytes(_convolution(zero_point))
        interpreter.set_input(given, 0)
        interpreter.invoke()
        found.append(interpreter.get_output(0))
    assert np.array_equal(*found)
    assert found[0].any()


def _run(runtime: Any, model: bytes) -> None:
    interpreter = runtime.Interpreter.from_bytes(model)
    interpreter.set_input(np.ones((1, 4), interpreter.get_input_details(0)["dtype"]), 0)
    interpreter.invoke()


@pytest.mark.parametrize("name", [name for name in _FILES if _FILES[name][1] != "integers"])
def test_verify_and_summary_say_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _, word = _FILES[name]
    path = tmp_path / "m.tflite"
    path.write_bytes(model)
    assert export_main(["summary", str(path)]) == 0
    assert word in capsys.readouterr().out
    # These are forms that this project writes itself, and verifies.
    if name not in ("dynamic_range", "float16", "float32"):
        assert export_main(["verify", str(path)]) == 2
        assert word in capsys.readouterr().err


def test_lint_refuses_what_has_no_kernels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(_FILES["dynamic_range"][0])
    assert export_main(["lint", str(path)]) == 2
    assert (
        "a dynamic-range file: weights of int8, activations of float32, in 1 FULLY_CONNECTED" in capsys.readouterr().err
    )
    path.write_bytes(_FILES["float32"][0])
    assert export_main(["lint", str(path)]) == 0


def test_profile_says_why_there_is_no_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(_FILES["uint8"][0])
    assert export_main(["profile", str(path)]) == 0
    assert "network of uint8, as TensorFlow 1 wrote them" in " ".join(capsys.readouterr().out.split())
