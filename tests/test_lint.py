"""``qtorch lint``: of anybody's file, what the TFLite Micro of a board would compute otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qtorch
from export.commands.lint import lint_command
from export.faults.found import all_faults
from export.graph.build import integer_graph
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
    with pytest.raises(BadConfiguration, match=r"a board that runs TFLite Micro.*qtorch compile .* --target uno"):
        linted(capsys, path, "--target", "uno")
    (tmp_path / "none.tflite").write_bytes(b"no model")
    with pytest.raises(BadModelFile):
        linted(capsys, str(tmp_path / "none.tflite"), "--target", "nano33ble")


def test_what_is_one_fault_of_two_libraries_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_sample(tmp_path, "fully_connected", "per channel"))
    for chosen, said in (
        ("chirale", ["fully_connected_first_scale"]),
        ("zephyr-4.0", ["fully_connected_per_channel_refused"]),
        ("esp-tflite-micro-1.3.1", ["fully_connected_per_channel_refused"]),
        # Neither refused nor mended there.
        ("esp-tflite-micro-1.3.3", ["fully_connected_per_channel"]),
    ):
        findings = json.loads(linted(capsys, path, "--tflm", chosen, "--json")[1])["findings"]
        per_channel = [each["fault"] for each in findings if each["words"].count("scales")]
        assert per_channel == said
    named = {fault.name for fault in all_faults()}
    assert all(named.issuperset(fault.repeats) for fault in all_faults())


def test_without_a_board_every_processor_counts_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = qtorch.quantize(nn.Conv2d(4, 4, (1, 3), stride=(1, 2)), torch.randn(8, 4, 1, 16))
    path = str(tmp_path / "row.tflite")
    Path(path).write_bytes(write_tflite(integer_graph(network)))
    code, said = linted(capsys, path, "--tflm", "tflm-cmsis-nn")
    assert code == 1
    assert "on any processor" in said
    assert "(on cortex-m55, cortex-m85)" in said
    assert linted(capsys, path, "--tflm", "tflm-cmsis-nn", "--target", "mps2_an386")[0] == 0
    code, said = linted(capsys, path, "--tflm", "tflm-cmsis-nn", "--target", "mps3_an547")
    assert code == 1
    assert "(on " not in said
