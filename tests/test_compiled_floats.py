"""``qtorch compile --data``: C of files that compute in floats, however they hold their numbers; others by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from export.__main__ import main as export_main
from export.c.compiled import c_compiler, run_c
from export.engines.litert import LITERT_REFERENCE
from export.graph.build import float_graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from tests.small_files import Op, Tensor, small_file
from tests.test_float_file import _STORED, _file

_RNG = np.random.default_rng(3)
needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler")


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ).eval()


def _model(form: str) -> tuple[bytes, np.ndarray]:
    """A file, and inputs as it takes them."""
    if form == "sparse":
        sparsity, stored = _STORED["rows"]
        return _file(sparsity, stored), _RNG.normal(size=(64, 4)).astype(np.float32)
    kind: Any = form
    model = write_tflite(float_graph(_network(), torch.randn(1, 2, 8, 8), kind, "nhwc"))
    return model, _RNG.normal(size=(64, 8, 8, 2)).astype(np.float32)


@needs_compiler
@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_range", "sparse"])
def test_c_of_a_float_file_computes_what_litert_makes_of_that(
    form: Literal["float32", "float16", "dynamic_range", "sparse"], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = _model(form)
    (tmp_path / "net.tflite").write_bytes(model)
    np.save(tmp_path / "x.npy", data)
    words = ["compile", str(tmp_path / "net.tflite"), "--out", str(tmp_path / "out"), "--target", "nano33ble"]
    assert export_main([*words, "--data", str(tmp_path / "x.npy")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "its network equals LiteRT's up to" in said
    out = tmp_path / "out"
    files = {path.name: path.read_text() for path in out.glob("net_model.*")}
    graph = read_tflite((out / "net.tflite").read_bytes())
    ends = graph.values[graph.inputs[0]], graph.values[graph.outputs[0]]
    (codes,) = run_c("net", files, graph, (ends[0].quantize(data),))
    (wanted,) = LITERT_REFERENCE.run(model, (data,))
    assert np.abs(ends[1].dequantize(codes) - wanted).max() < 0.08 * np.abs(wanted).max()
    assert json.loads((out / "parity.json").read_text())["engines"]["compiled_c"]["mismatches"] == 0


@pytest.mark.parametrize("form", ["float32", "float16", "dynamic_range", "sparse"])
def test_without_data_it_is_called_what_it_is_with_what_to_do(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.tflite").write_bytes(_model(form)[0])
    assert export_main(["compile", str(tmp_path / "net.tflite"), "--out", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    called = {"float32": "a float32 network", "float16": "held in float16", "dynamic_range": "a dynamic-range file"}
    assert called.get(form, "sparse constants behind DENSIFY") in said
    assert "qtorch compile MODEL.tflite --data x.npy --out DIR" in said
    assert not (tmp_path / "out").exists()


def _integers() -> bytes:
    grid = {"scale": [0.5], "zero_point": [0]}
    tensors = [Tensor("int8", [1, 4], name="x", **grid), Tensor("int8", [1, 4], name="y", scale=[0.25], zero_point=[1])]
    return small_file(tensors, [Op("QUANTIZE", [0], [1])], [0], [1])


def _detector() -> bytes:
    tensors = [
        Tensor("float32", [1, 4], name="raw_boxes"), Tensor("float32", [1, 4], name="raw_scores"),
        Tensor("float32", [1, 4], name="anchors"), Tensor("float32", [1, 4], name="found"),
    ]  # fmt: skip
    return small_file(tensors, [Op("CUSTOM:TFLite_Detection_PostProcess", [0, 1, 2], [3])], [0, 1, 2], [3])


def _loop() -> bytes:
    tensors = [Tensor("int8", [1, 4], name="x", scale=[0.5]), Tensor("int8", [1, 4], name="y", scale=[0.5])]
    return small_file(tensors, [Op("WHILE", [0], [1], "WhileOptions")], [0], [1])


_REFUSED = [
    (_integers, [], "a network of integers", "--inputs takes inputs to compare on"),
    (lambda: _model("float32")[0], ["--samples", "9"], "with which the file is quantized", "leave them out"),
    (_detector, [], "operator 0, TFLite_Detection_PostProcess", "at 'raw_boxes' and 'raw_scores'"),
    (_loop, [], "a loop, operator 0 (WHILE), as Keras 3 makes", "unroll=True in these layers"),
    (_loop, [], "a loop, operator 0 (WHILE), as Keras 3 makes", "UNIDIRECTIONAL_SEQUENCE_LSTM"),
]


@pytest.mark.parametrize(("model", "words", "got", "remedy"), _REFUSED)
def test_what_data_do_not_help_is_refused(
    model: Any, words: list[str], got: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.tflite").write_bytes(model())
    np.save(tmp_path / "x.npy", np.zeros((4, 4), np.float32))
    asked = ["compile", str(tmp_path / "net.tflite"), "--out", str(tmp_path / "out")]
    assert export_main([*asked, "--data", str(tmp_path / "x.npy"), *words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert got in said
    assert remedy in said.partition("Remedy: ")[2]
    if model in (_detector, _loop):
        assert export_main(asked) == 2
        again = " ".join(capsys.readouterr().err.split())
        assert got in again
        assert remedy in again.partition("Remedy: ")[2]
