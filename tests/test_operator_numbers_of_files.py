"""Operators in what ``qtorch compile`` says: by their numbers in the file that it was given, whatever became of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.command_line.dispatch import main
from export.compiled_file.model_in_file import model_in_file
from export.compiled_file.tflm_form import faults_of_file
from export.faults.avoided import in_a_line
from export.faults.found import faults_in
from qtorch.editions.known import EDITIONS
from tests.schema_file import SchemaFile
from tests.test_compile_command import request
from tests.test_unset_padding import dilated

pytestmark = pytest.mark.tflm
OLD = EDITIONS["chirale"]


def products() -> bytes:
    """A product of matrices, which came to TFLite Micro in 2024, behind operators that are left out or become one."""
    file = SchemaFile()
    x = file.tensor([1, 2, 3], "int8", 0.25, 3, name="x", end="input")
    for index, shape in enumerate(([1, 6], [1, 3, 2], [1, 2, 3])):
        reshaped = file.tensor(shape, "int8", 0.25, 3, name=f"shape{index}")
        file.operator("RESHAPE", [x, file.constant(np.array(shape, np.int32))], [reshaped])
        x = reshaped
    other = file.tensor([1, 3, 2], "int8", 0.25, 3, name="other", end="input")
    y = file.tensor([1, 2, 2], "int8", 0.5, -4, name="y")
    file.operator("BATCH_MATMUL", [x, other], [y], "BatchMatMulOptions", {}, 2)
    z = file.tensor([1, 2, 2], "int8", 0.5, -4, name="z", end="output")
    file.operator("RELU", [y], [z])
    return file.written()


def test_a_page_and_a_refusal_have_the_number_that_lint_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.tflite").write_bytes(products())
    words = ["compile", str(tmp_path / "m.tflite"), "--target", "nano33ble", "--samples", "20", "--out"]
    assert main([*words, str(tmp_path / "out")]) == 0, capsys.readouterr().err
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("operator 3 (BATCH_MATMUL): an operator that came") == 2
    assert set(re.findall(r"operators? (\d+)", said)) == {"3"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("operator 3 (BATCH_MATMUL): an operator that came") == 2
    assert main([*words, str(tmp_path / "other"), "--tflite"]) == 2
    assert "got operator 3 (BATCH_MATMUL)" in " ".join(capsys.readouterr().err.split())


def product(file: SchemaFile, of: int) -> None:
    """A product of matrices behind a picture of 8x8x3."""
    rows = file.tensor([1, 8, 24], "int8", 0.3, -4, name="rows")
    file.operator("RESHAPE", [of, file.constant(np.array([1, 8, 24], np.int32))], [rows])
    other = file.tensor([1, 24, 2], "int8", 0.25, 3, name="other", end="input")
    z = file.tensor([1, 8, 2], "int8", 0.5, -4, name="z", end="output")
    file.operator("BATCH_MATMUL", [rows, other], [z], "BatchMatMulOptions", {}, 2)


def test_a_file_that_is_written_again_before_all_else_keeps_its_numbers() -> None:
    model = model_in_file(dilated([[2, 2], [2, 2]], 8, behind=product), "m")
    assert model.folded
    assert str(model.operators["y"]) == "operator 2 (BATCH_TO_SPACE_ND)"
    (met,) = faults_of_file(model, request("nano33ble"))
    assert str(met).startswith("operator 4 (BATCH_MATMUL): an operator that came")


def test_an_operator_that_the_file_has_not_is_called_by_its_tensor() -> None:
    (one, *_) = faults_in(products(), OLD, "cortex-m4")
    alone, other = replace(one, operator=None), replace(one, operator=None, output="state 1")
    assert str(alone).startswith("BATCH_MATMUL that writes 'y' in the file written again: ")
    assert in_a_line([alone, other]).startswith("BATCH_MATMUL that write 'y' and 'state 1' in the file written again: ")
    assert str(replace(one, operator=7, instead_of="FULLY_CONNECTED")).startswith(
        "operator 7 (FULLY_CONNECTED, written again as BATCH_MATMUL): "
    )
    assert "; BATCH_MATMUL that writes 'y' in " in in_a_line([one, alone])


def test_a_project_of_a_file_whose_ends_are_other_integers_is_refused_in_words_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = SchemaFile()
    x = file.tensor([1, 4], "int16", 0.25, 0, name="x", end="input")
    file.operator("RELU", [x], [file.tensor([1, 4], "int16", 0.25, 0, name="y", end="output")])
    (tmp_path / "m.tflite").write_bytes(file.written())
    words = ["compile", str(tmp_path / "m.tflite"), "--target", "esp32", "--firmware", "tflm", "--samples", "20"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--firmware tflm: expected a file with int8 inputs and outputs" in said
    assert "got int16 at 'x'. Remedy: leave --firmware out" in said
    assert "layers=" not in said
    assert "export." not in said


def test_the_page_of_editions_has_the_numbers_of_the_file_that_came(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(dilated([[2, 2], [2, 2]], 8, behind=product))
    words = ["compile", str(tmp_path / "m.tflite"), "--target", "host", "--samples", "20", "--tflite"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    proof = json.loads((tmp_path / "out" / "parity.json").read_text())
    found = [each for findings in proof["editions"].values() if findings != "agrees" for each in findings]
    assert {each["operator"] for each in found if each["name"] == "BATCH_MATMUL"} == {4}
