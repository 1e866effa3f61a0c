"""What a call of the front door can't use, it refuses in words, before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import export
import qtorch
from export.command_line.reader import read_options
from export.commands.summary import SummaryOptions
from export.figures.inferred_task import inferred_task
from qtorch.errors import BadConfiguration, BadInput, UnknownArgument

X = torch.linspace(-1, 1, 256).reshape(64, 4)
NET = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize("name", [None, 3, ["uno"], b"uno"])
def test_a_board_is_named_by_a_text(name: Any) -> None:
    with pytest.raises(BadConfiguration, match=r"export.target: expected the name of a board, a text, got"):
        export.board(name)
    with pytest.raises(BadConfiguration, match=r"^target: expected a text, got"):
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
        (lambda: qtorch.prepare(NET, X, margin=0.2), r"Remedy: .*config=qtorch.QuantizationConfig\(margin=...\)"),
        (lambda: qtorch.prepare(NET, X, margn=0.2), r"Remedy: .*config=qtorch.QuantizationConfig\(margin=...\)"),
        (lambda: qtorch.prepare(NET, example=X), "Remedy: write example_input"),
        (lambda: qtorch.QuantizationConfig(margn=0.2), "Remedy: write margin"),
        (lambda: qtorch.LayerConfig(observr="mse"), "Remedy: write observer"),
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


Y = torch.arange(64) % 2


def of_targets(targets: Any) -> Callable[[], object]:
    return lambda: export.export_network(NET, calibration=X, test=(X, targets))


def of_network(network: nn.Module, call: str) -> Callable[[], object]:
    calls = {
        "quantize": lambda: qtorch.quantize(network, X),
        "export": lambda: export.export_network(network, calibration=X),
    }
    return calls[call]


def pruned() -> nn.Module:
    layer = prune.l1_unstructured(nn.Linear(4, 2), "weight", 0.5)
    layer(X)
    return layer


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: qtorch.quantize(NET, np.ma.masked_greater(X.numpy(), 0)), r"MaskedArray.*128 masked.*filled\(0\)"),
        (of_targets(np.ma.masked_greater(Y.numpy(), 0)), "MaskedArray"),
        (of_targets(torch.ones(64, 2, dtype=torch.complex64)), "real numbers"),
        (of_targets(Y.to_sparse()), r"sparse.*to_dense\(\)"),
        (of_targets(Y.to("meta")), "without any, on device meta"),
        (of_targets(["a", "b"] * 32), "Remedy: pass numbers; of classes"),
        (lambda: qtorch.quantize(NET, X.to_sparse()), "sparse"),
        (lambda: qtorch.quantize(NET, X.to("meta")), "calibration: .*device meta"),
        (of_network(nn.Linear(4, 2, device="meta"), "quantize"), r"device meta.*to_empty"),
        (of_network(nn.Linear(4, 2, device="meta"), "export"), r"device meta.*to_empty"),
        (of_network(nn.Linear(4, 2, dtype=torch.float16), "export"), r"float16. Remedy: call .float\(\)"),
        (of_network(pruned(), "quantize"), "prune.remove"),
        (of_network(pruned(), "export"), "prune.remove"),
        (lambda: export.export_network(NET, calibration=[{"x": X, "y": Y}]), "Remedy: pass tuples of inputs and"),
        (lambda: export.export_network(NET, calibration=X, options=export.ExportOptions()), "pass post_training=True"),
        (lambda: export.export_network(NET, calibration=X, post_training=False), "pass post_training=True"),
        (lambda: export.export_network(NET, calibration=X, test=(X, Y), figures=3), "figures: .*a function of inputs,"),
    ],
)  # fmt: skip
def test_data_and_networks_without_numbers_to_use(call: Callable[[], object], said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_figures_of_a_call_are_called_as_its_argument_is() -> None:
    for figures, better, said in (
        (lambda *_: {}, {}, "^figures of model: expected numbers by the figure's name, got dict {}"),
        (lambda *_: {"a": 1.0}, {"b": "lower"}, "^better: expected figures that figures returns, some of a, got b"),
    ):
        with pytest.raises(BadConfiguration, match=said):
            export.export_network(
                NET, calibration=X, test=(X, Y), figures=figures, better=better, c=False, onnx=False, firmware=None
            )


def test_one_hot_rows_are_classes() -> None:
    one_hot = nn.functional.one_hot(Y, 2)
    task, classes = inferred_task("test", one_hot, ((2,),))
    assert (task.kind, classes.tolist()) == ("classification", Y.tolist())
    assert isinstance(inferred_task("test", torch.ones(64, 2, dtype=torch.int64), ((2,),)), str)
    said = inferred_task("test", torch.rand(64, 5), ((2,),))
    assert (
        said
        == "figures go without saying of classes [N], or numbers of the outputs' shape, [N, 2], and targets are [N, 5]"
    )


def test_a_word_behind_a_boolean_is_said_where(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        read_options(SummaryOptions, ["m.tflite", "--json", "maybe"], "summary")
    assert "error: --json: expected true or false, got 'maybe'" in capsys.readouterr().err
