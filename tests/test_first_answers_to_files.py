"""Zeros without a scale, batches left open, and what ``qtorch compile`` looks at first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.command_line.dispatch import main
from export.compiled_file.model_in_file import model_in_file
from export.engines import TFLM
from export.engines.apart import run_apart
from export.graph.interpret import interpret
from export.tflite.contents import read_contents
from export.tflite.scales_of_zeros import with_scales_of_zeros
from qtorch.errors import BadModelFile
from tests.schema_file import SchemaFile

RNG = np.random.default_rng(11)


def step_from_zeros(state: int = 0) -> bytes:
    """The first step of an unrolled recurrent network in 16 bits: a state of zeros, its products, and what is kept."""
    file = SchemaFile()
    x = file.tensor([1, 4], "int16", 2.0**-12, name="x", end="input")
    zeros = file.tensor([1, 4], "int16", [0.0], data=np.full((1, 4), state, np.int16), name="zeros")
    old, new, gate, kept, y = (
        file.tensor([1, 4], "int16", scale, name=name)
        for name, scale in [("old", [3.6e-43]), ("new", 2.0**-11), ("gate", 2.0**-15), ("kept", [0.0]), ("y", 2.0**-10)]
    )
    for source, output in ((zeros, old), (x, new)):
        matrix = file.constant(RNG.integers(-127, 128, (4, 4)).astype(np.int8), 0.01)
        file.operator("FULLY_CONNECTED", [source, matrix, -1], [output], "FullyConnectedOptions", version=4)
    file.operator("LOGISTIC", [new], [gate])
    file.operator("MUL", [gate, zeros], [kept], "MulOptions", {}, 2)
    total = file.tensor([1, 4], "int16", 2.0**-10, name="total", end="output")
    file.operator("ADD", [new, old], [y], "AddOptions", {"potScaleInt16": False}, 3)
    file.operator("MUL", [y, gate], [total], "MulOptions", {}, 2)
    file.graph.outputs.append(kept)
    return file.written()


@pytest.mark.tflm
def test_zeros_without_a_scale_are_taken_as_tflite_micro_takes_them() -> None:
    data = step_from_zeros()
    model = model_in_file(data, "m.tflite")
    codes = RNG.integers(-32768, 32768, (40, 4)).astype(np.int16)
    for expected, name in zip(run_apart(TFLM, data, (codes,)), model.graph.outputs, strict=True):
        np.testing.assert_array_equal(interpret(model.graph, (codes,))[name], expected)


def test_numbers_without_a_scale_stay_refused() -> None:
    with pytest.raises(BadModelFile, match=r"'zeros': expected scales that are finite and above 0, got 0"):
        model_in_file(step_from_zeros(1), "m.tflite")


def test_a_file_without_such_zeros_is_left_as_it_is() -> None:
    file = SchemaFile()
    x = file.tensor([1, 3], "int8", 0.05, 0, name="x", end="input")
    y = file.tensor([1, 3], "int8", 0.05, 0, name="y", end="output")
    file.operator("ADD", [x, file.constant(np.zeros((1, 3), np.int8), 0.01)], [y], "AddOptions", {}, 2)
    contents = read_contents(file.written(), "m.tflite")
    assert with_scales_of_zeros(contents) is contents


def with_a_size_of_the_run(dtype: str, scale: float) -> bytes:
    """A batch left open, of which zeros are made; TFLite Micro's FILL asks for constant sizes."""
    file = SchemaFile()
    x = file.tensor([1, 3], dtype, 0.0625, name="x", end="input")
    size = file.tensor([2], "int32", name="size")
    file.operator("SHAPE", [x], [size], "ShapeOptions", {"outType": 2})
    zeros = file.tensor([1, 3], dtype, [scale], name="zeros")
    value = file.tensor([], dtype, [scale], data=np.zeros(1, dtype))
    file.operator("FILL", [size, value], [zeros], "FillOptions")
    y = file.tensor([1, 3], dtype, 0.0625, name="y", end="output")
    file.operator("MUL", [x, zeros], [y], "MulOptions", {}, 2)
    file.graph.tensors[x].shapeSignature = [-1, 3]
    return file.written()


@pytest.mark.tflm
@pytest.mark.parametrize("grid", [("int8", 0.05), ("int16", 0.0)], ids=["int8", "int16 without a scale"])
@pytest.mark.parametrize("command", ["compile", "verify"])
def test_a_batch_left_open_that_tflite_micro_refuses_has_to_be_fixed(
    command: str, grid: tuple[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(with_a_size_of_the_run(*grid))
    further = ["--out", str(tmp_path / "out")] if command == "compile" else []
    assert main([command, str(tmp_path / "m.tflite"), *further]) == 2
    said = capsys.readouterr().err
    assert "Non-constant >dims<" in said
    assert "Remedy: the batch was left open" in said


def test_a_wrong_model_is_told_before_a_folder_that_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(b"# a page")
    (tmp_path / "out").write_text("no folder")
    assert main(["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out")]) == 2
    assert "TFL3" in capsys.readouterr().err


def test_a_name_too_long_for_files_is_not_the_folder_s_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(step_from_zeros())
    words = ["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out"), "--name", "n" * 240]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "--name: expected a name of at most" in said
    assert "Remedy: choose a shorter name" in said
    assert [each.name for each in tmp_path.iterdir()] == ["m.tflite"]
