"""Boolean options are taken with and without a word behind them, by each command that has some."""

from __future__ import annotations

from pathlib import Path

import pytest

import export.commands.export as command
from export.options import ExportOptions
from export.pipeline.run import PipelineCLI
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption

_FLAGS = ("post_training", "c", "strip", "metadata", "onnx")


@pytest.mark.parametrize("flag", _FLAGS)
@pytest.mark.parametrize(("said", "expected"), [([], True), (["true"], True), (["false"], False), (["True"], True)])
@pytest.mark.parametrize("first", [True, False])
def test_the_export_takes_either_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flag: str, said: list[str], expected: bool, first: bool
) -> None:
    asked: list[tuple[Path, ExportOptions]] = []

    class Met(Exception):
        pass

    def export_checkpoint(checkpoint: Path, out: Path, *, name: str | None, options: ExportOptions) -> None:
        asked.append((checkpoint, options))
        raise Met

    # Some that the export knows contradict others: which those are is not what is asked here.
    monkeypatch.setattr(ExportOptions, "__post_init__", lambda self: None)
    monkeypatch.setattr("export.lightning_run.exported_checkpoint.export_checkpoint", export_checkpoint)
    option = [f"--export.{flag}", *said]
    rest = [str(tmp_path / "a.ckpt"), "--out", str(tmp_path)]
    with pytest.raises(Met):
        command.export_command([*option, *rest] if first else [*rest, *option])
    ((path, options),) = asked
    assert (path.name, getattr(options, flag)) == ("a.ckpt", expected)


def test_another_word_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.export_command([str(tmp_path / "a.ckpt"), "--out", str(tmp_path), "--export.c=perhaps"])
    assert "expected true or false, got 'perhaps'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*intended to run from within Python.*")
@pytest.mark.parametrize(("said", "expected"), [([], True), (["true"], True), (["false"], False)])
def test_recipes_take_either_form(said: list[str], expected: bool) -> None:
    config = Path(__file__).parents[1] / "recipes/fuel_qat/config.yaml"
    cli = PipelineCLI(
        FuelConsumption, FuelData, run=False, save_config_callback=None, seed_everything_default=0,
        parser_kwargs={"default_config_files": [str(config)]},
        args=["--export.c", *said, "--export.strip", *said, "--out", "somewhere"],
    )  # fmt: skip
    assert (cli.config.export.c, cli.config.export.strip, str(cli.config.out)) == (expected, expected, "somewhere")
