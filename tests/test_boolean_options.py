"""Boolean options are taken with and without a word behind them, by each command that has some."""

from __future__ import annotations

from pathlib import Path

import pytest

import export.commands.export as command
from export.options import ExportOptions
from export.pipeline.run import _PipelineCLI
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption

_FLAGS = ("post_training", "c", "strip", "metadata", "onnx")


@pytest.mark.parametrize("flag", _FLAGS)
@pytest.mark.parametrize(("said", "expected"), [([], True), (["true"], True), (["false"], False), (["True"], True)])
@pytest.mark.parametrize("first", [True, False])
def test_the_export_takes_either_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: str, said: list[str], expected: bool, first: bool
) -> None:
    met: list[tuple[Path, ExportOptions]] = []

    class Met(Exception):
        pass

    def load_run(path: Path) -> None:
        met.append((path, ExportOptions()))

    def options(**given: object) -> None:
        met[-1] = (met[-1][0], given)  # type: ignore[assignment]
        raise Met

    monkeypatch.setattr(command, "load_run", load_run)
    monkeypatch.setattr(command, "ExportOptions", options)
    monkeypatch.setattr(command, "fields", lambda _: __import__("dataclasses").fields(ExportOptions))
    option = [f"--export.{flag}", *said]
    rest = [str(tmp_path / "a.ckpt"), "--out", str(tmp_path)]
    with pytest.raises(Met):
        command.export_command([*option, *rest] if first else [*rest, *option])
    path, given = met[0]
    assert (path.name, given[flag]) == ("a.ckpt", expected)  # type: ignore[index]


def test_another_word_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.export_command([str(tmp_path / "a.ckpt"), "--out", str(tmp_path), "--export.c=perhaps"])
    assert "expected true or false, got 'perhaps'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*intended to run from within Python.*")
@pytest.mark.parametrize(("said", "expected"), [([], True), (["true"], True), (["false"], False)])
def test_recipes_take_either_form(said: list[str], expected: bool) -> None:
    config = Path(__file__).parents[1] / "recipes/fuel_qat/config.yaml"
    cli = _PipelineCLI(
        FuelConsumption, FuelData, run=False, save_config_callback=None, seed_everything_default=0,
        parser_kwargs={"default_config_files": [str(config)]},
        args=["--export.c", *said, "--export.strip", *said, "--out", "somewhere"],
    )  # fmt: skip
    assert (cli.config.export.c, cli.config.export.strip, str(cli.config.out)) == (expected, expected, "somewhere")
