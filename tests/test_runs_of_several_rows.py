"""Files whose inputs have several rows: a run of the network takes all of them, and is one sample."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from export.boards import board
from export.compiled_file.compiled import compile_file
from export.compiled_file.model_in_file import model_in_file
from export.compiled_file.request import Request
from export.device.layer_checks import layer_checks
from qtorch.editions.known import edition
from tests.schema_file import SchemaFile

runtime = pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro").runtime


@pytest.mark.tflm
def test_a_run_of_several_rows_has_one_checksum() -> None:
    file = SchemaFile()
    x = file.tensor([3, 4], "int8", 0.1, 1, name="x", end="input")
    y = file.tensor([3, 4], "int8", 0.1, 1, name="y")
    z = file.tensor([3, 4], "int8", 1 / 256, -128, name="z", end="output")
    file.operator("RELU", [x], [y])
    file.operator("LOGISTIC", [y], [z])
    model = file.written()
    codes = np.random.default_rng(0).integers(-128, 128, (15, 4)).astype(np.int8)
    operators, sums = layer_checks(model, model_in_file(model, "m.tflite").core, (codes,))
    assert (operators, sums.shape) == (["RELU", "LOGISTIC"], (5, 2))
    interpreter = runtime.Interpreter.from_bytes(model)
    for run_of_three, checked in zip(codes.reshape(5, 3, 4), sums, strict=True):
        interpreter.set_input(run_of_three, 0)
        interpreter.invoke()
        assert checked[1] == zlib.crc32(interpreter.get_output(0).tobytes())


@pytest.mark.qemu
def test_a_run_of_several_rows_is_one_sample_of_a_board() -> None:
    """The emulator, too, takes whole runs; of 20 samples it gets 16."""
    rng, file = np.random.default_rng(0), SchemaFile()
    x = file.tensor([3, 4], "int8", 0.1, 1, name="x", end="input")
    matrix = file.constant(rng.integers(-90, 90, (2, 4)).astype(np.int8), 0.02, name="m")
    y = file.tensor([3, 2], "int8", 0.1, 5, name="y", end="output")
    file.operator("FULLY_CONNECTED", [x, matrix, -1], [y], "FullyConnectedOptions", version=4)
    given = rng.integers(-128, 128, (6, 4)).astype(np.int8)
    target = board("mps2_an386")
    request = Request("m", "m.tflite", target, edition(target.edition), samples=20)
    compiled = compile_file(file.written(), request, given)
    assert compiled.metrics["c"]["inference"].get("absent") is None
    assert compiled.metrics["c"]["inference"]["median"] > 50
