"""SPACE_TO_BATCH_ND with padding, which TFLite Micro fills with a byte that it never sets, or with a batch whose size
was left open, of which it computes one picture: named, and folded away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.c.compiled import c_compiler
from export.command_line.dispatch import main
from export.engines import TFLM
from export.faults.found import faults_in
from export.faults.tflm_forms import OPEN_BATCH, UNSET_PADDING
from qtorch.editions.known import NEWEST
from tests.schema_file import SchemaFile

pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro")
RNG = np.random.default_rng(0)


def dilated(
    paddings: list[list[int]],
    size: int,
    *,
    io: str = "int8",
    pictures: int = 4,
    behind: Callable[[SchemaFile, int], None] | None = None,
) -> bytes:
    """A 3x3 convolution over every second pixel, as TensorFlow writes it, and what is put behind it."""
    file = SchemaFile()
    x = file.tensor([1, size, size, 2], io, 0.25, 3 + 128 * (io == "uint8"), name="x", end="input")
    if io == "uint8":
        inner = file.tensor([1, size, size, 2], "int8", 0.25, 3)
        file.operator("QUANTIZE", [x], [inner])
        x = inner
    block = file.constant(np.array([2, 2], np.int32))
    height, width = (size + sum(ends) for ends in paddings)
    spread = file.tensor([pictures, height // 2, width // 2, 2], "int8", 0.25, 3)
    pads = file.constant(np.array(paddings, np.int32))
    file.operator("SPACE_TO_BATCH_ND", [x, block, pads], [spread], "SpaceToBatchNDOptions")
    weight = file.constant(RNG.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8), 0.01)
    bias = file.constant(np.array([90, -90, 0], np.int32), 0.0025)
    computed = file.tensor([pictures, height // 2 - 2, width // 2 - 2, 3], "int8", 0.3, -4)
    options = {"strideH": 1, "strideW": 1, "padding": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    file.operator("CONV_2D", [spread, weight, bias], [computed], "Conv2DOptions", options, 3)
    y = file.tensor([1, height - 4, width - 4, 3], "int8", 0.3, -4, name="y", end="" if behind else "output")
    crops = file.constant(np.zeros((2, 2), np.int32))
    file.operator("BATCH_TO_SPACE_ND", [computed, block, crops], [y], "BatchToSpaceNDOptions")
    if behind is not None:
        behind(file, y)
    return file.written()


PADDED, PLAIN = dilated([[2, 2], [2, 2]], 8), dilated([[0, 0], [0, 0]], 8)
#: As Keras writes it, whose batches have no size.
OPEN = dilated([[0, 0], [0, 0]], 8, pictures=1)


def of_litert(model: bytes, codes: np.ndarray) -> np.ndarray:
    """LiteRT's reference kernels, which pad with the code of 0."""
    engine = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    engine.allocate_tensors()
    (fed,), (got,) = engine.get_input_details(), engine.get_output_details()
    outputs = []
    for each in codes:
        engine.set_tensor(fed["index"], each[None])
        engine.invoke()
        outputs.append(engine.get_tensor(got["index"]))
    return np.concatenate(outputs)


def test_the_fault_is_found_where_something_is_padded() -> None:
    (found,) = faults_in(PADDED, NEWEST, "host")
    assert found.fault.name == UNSET_PADDING
    assert "8 rows and columns of padding, in a byte that is never set, where the code of 0 is 3" in str(found)
    assert not faults_in(PLAIN, NEWEST, "host")
    (found,) = faults_in(OPEN, NEWEST, "host")
    assert found.fault.name == OPEN_BATCH
    assert "1 of the 4 pictures that its blocks make: the size of the batch was left open" in str(found)


def test_tflm_computes_the_file_otherwise_and_litert_does_not() -> None:
    """If this fails, TFLite Micro sets the byte, and the fault has a last day."""
    codes = RNG.integers(-128, 128, (6, 8, 8, 2)).astype(np.int8)
    assert (TFLM.run(PADDED, (codes,))[0] != of_litert(PADDED, codes)).any()
    assert (TFLM.run(OPEN, (codes,))[0] != of_litert(OPEN, codes)).any()
    np.testing.assert_array_equal(TFLM.run(PLAIN, (codes,))[0], of_litert(PLAIN, codes))


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("model", [PADDED, OPEN], ids=["padded", "open batch"])
def test_compile_proves_and_writes_the_dilated_convolution(
    model: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(model)
    words = ["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out"), "--tflite", "--samples", "50"]
    assert main(words) == 0, capsys.readouterr().err
    assert (
        "1 SPACE_TO_BATCH_ND pad with a byte that TFLite Micro never sets, or have a batch" in capsys.readouterr().out
    )
    codes = RNG.integers(-128, 128, (6, 8, 8, 2)).astype(np.int8)
    again = (tmp_path / "out" / "m.tflite").read_bytes()
    np.testing.assert_array_equal(TFLM.run(again, (codes,))[0], of_litert(model, codes))
    (tmp_path / "m.tflite").write_bytes(PLAIN)
    assert main(words) == 0
    assert "never sets" not in capsys.readouterr().out


def test_a_file_of_uint8_is_refused_with_the_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.tflite").write_bytes(dilated([[2, 2], [2, 2]], 8, io="uint8"))
    assert main(["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out")]) == 1
    assert "in a byte that is never set" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["lint", "verify", "profile"])
def test_other_commands_name_the_fault_and_the_way_out(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(PADDED)
    try:
        code = main([command, str(tmp_path / "m.tflite")])
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 1
    shown = capsys.readouterr()
    said = " ".join((shown.out + shown.err).split())
    assert "in a byte that is never set" in said
    assert "qtorch compile --tflite" in said
