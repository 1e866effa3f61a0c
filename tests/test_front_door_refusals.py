"""What a call of the front door can't use, it refuses in words, before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import export
import qtorch
from export.command_line.reader import read_options
from export.commands.summary import SummaryOptions
from qtorch.errors import BadConfiguration, UnknownArgument

X = torch.linspace(-1, 1, 256).reshape(64, 4)
NET = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize("name", [None, 3, ["uno"], b"uno"])
def test_a_board_is_named_by_a_text(name: Any) -> None:
    with pytest.raises(BadConfiguration, match=r"export.target: expected the name of a board, a text, got"):
        export.board(name)
    with pytest.raises(BadConfiguration, match=r"export.target: expected a text, got"):
        export.export_network(NET, calibration=X, target=name)


@pytest.mark.parametrize("out", [3, ["a"], b"a", "a\0b", "", " "])
def test_out_is_a_path(out: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: export.export_network(NET, out, calibration=X),
        lambda: export.export_checkpoint("a.ckpt", out),
    ):
        with pytest.raises(BadConfiguration, match="out: expected the path of a folder, got"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_home_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export.ExportOptions(firmware=Path("~/fw"), target="uno").firmware == tmp_path / "fw"
    assert read_options(SummaryOptions, ["~/m.tflite"], "summary").model == tmp_path / "m.tflite"
    (tmp_path / "x").touch()
    with pytest.raises(qtorch.errors.Unwritable, match=str(tmp_path / "x")):
        export.export_network(NET, "~/x", calibration=X)


@pytest.mark.parametrize("config", [3, {}])
def test_a_config_is_a_configuration(config: Any) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: export.export_network(NET, calibration=X, config=config),
        lambda: qtorch.quantize(NET, X, config),
        lambda: qtorch.prepare(NET, X, config),
    )
    for call in calls:
        with pytest.raises(BadConfiguration, match="config: expected a QuantizationConfig, or None, got"):
            call()


def test_a_name_too_long_for_files() -> None:
    with pytest.raises(BadConfiguration, match="name: expected at most 200 characters"):
        export.export_network(NET, calibration=X, name="n" * 300)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: export.export_network(NET, calibratoin=X), "'calibratoin': .*Remedy: write calibration"),
        (lambda: export.export_network(NET, calibration=X, figurs=len), "Remedy: write figures"),
        (lambda: export.export_network(NET), r"export_network\(\): .*missing a required argument: 'calibration'"),
        (lambda: qtorch.quantize(NET, calibratoin=X), "Remedy: write calibration"),
        (lambda: qtorch.quantize(NET, X, equalise=True), "Remedy: write equalize"),
        (lambda: qtorch.quantize(NET, X, None, True), "too many positional arguments"),
        (lambda: export.export_checkpoint("a.ckpt", "out", tagret="uno"), "Remedy: write target"),
    ],
)
def test_a_misspelt_argument_is_told_the_nearest(call: Callable[[], object], said: str) -> None:
    with pytest.raises(UnknownArgument, match=said):
        call()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("supply", None),
        ("supply", -1),
        ("flash", -1),
        ("ram", "x y"),
        ("ram", True),
        ("clock_hz", -1),
        ("tflm", None),
        ("description", None),
    ],
)
def test_a_board_with_a_field_of_another_kind_does_not_join(field: str, value: Any) -> None:
    board = dataclasses.replace(export.BOARDS["uno"], **{"name": "mine", field: value})
    with pytest.raises(BadConfiguration, match=f"board 'mine': {field}: expected .*, got"):
        export.register_board(board)
    assert "mine" not in export.BOARDS


@pytest.mark.parametrize("row", [None, "add"])
def test_a_proof_is_of_a_row(row: Any) -> None:
    with pytest.raises(BadConfiguration, match=r"export.row_parity: expected a Row"):
        export.row_parity(row)
