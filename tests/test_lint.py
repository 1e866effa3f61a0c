"""``qtorch lint``: of anybody's file, what the TFLite Micro of a board would compute otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from export.commands.lint import lint_command
from export.rows.samples import sample_graph
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration, BadModelFile
from qtorch.ops import ROWS


def write_sample(folder: Path, op: str, label: str) -> Path:
    row = ROWS[op]
    path = folder / "model.tflite"
    path.write_bytes(write_tflite(sample_graph(row, next(each for each in row.samples() if each.label == label))))
    return path


def linted(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    try:
        lint_command(arguments)
    except SystemExit as left:
        return int(str(left.code)), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_what_a_boards_edition_computes_otherwise_is_a_table_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_sample(tmp_path, "transpose_conv", "relu"))
    code, said = linted(capsys, path, "--target", "nano33ble")
    assert code == 1
    for part in (
        "Chirale_TensorFLowLite 2.0.0",
        "TRANSPOSE_CONV",
        "relu",
        "other codes",
        "operator of its own behind it",
    ):
        assert part in said
    assert "1 operator would" in said


def test_a_file_that_meets_no_fault_is_said_to_and_exit_code_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_sample(tmp_path, "transpose_conv", "relu"))
    for arguments in ((), ("--target", "host"), ("--target", "nano33ble", "--tflm", "newest")):
        code, said = linted(capsys, path, *arguments)
        assert code == 0
        assert "no known fault" in said


def test_for_machines_it_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_sample(tmp_path, "fully_connected", "per channel"))
    code, said = linted(capsys, path, "--tflm", "zephyr-4.0", "--json")
    figures: dict[str, Any] = json.loads(said)
    assert code == 1
    assert figures["edition"] == "zephyr-4.0"
    assert figures["source"] == "2024-05-28"
    effects = {each["fault"]: each["effect"] for each in figures["findings"]}
    assert effects["fully_connected_per_channel_refused"] == "refused"
    code, said = linted(capsys, path, "--tflm", "newest", "--json")
    assert (code, json.loads(said)["findings"]) == (0, [])


def test_bad_input_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_sample(tmp_path, "relu", "0.05@-3 to 0.02@-128"))
    with pytest.raises(BadConfiguration, match="--tflm: expected one of newest"):
        linted(capsys, path, "--tflm", "chiral")
    with pytest.raises(BadConfiguration, match="--target"):
        linted(capsys, path, "--target", "nano")
    with pytest.raises(BadConfiguration, match="a board that runs TFLite Micro"):
        linted(capsys, path, "--target", "uno")
    (tmp_path / "none.tflite").write_bytes(b"no model")
    with pytest.raises(BadModelFile):
        linted(capsys, str(tmp_path / "none.tflite"), "--target", "nano33ble")
