"""The same run by the callback, the call and the command is the same export, to the byte; and by its network alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from torch.utils.data import DataLoader, TensorDataset

import export
from export.__main__ import main as export_main
from qtorch.errors import BadConfiguration, ParityError, Unwritable
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.cli import QuantizationCLI
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine
from tests.conftest import FUEL_CONFIG
from tests.plain_lightning import Plain, X, Y

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:saturated range", "ignore:.*does not have many workers.*"),
]

ROOT = FUEL_CONFIG.parents[2]
#: What the three are asked for, but for the project's folder.
CHOICES: dict[str, Any] = {"c": True, "onnx": True, "metadata": True, "version": "1", "target": "nano33ble"}


def fitted(*callbacks: pl.Callback, epochs: int = 4, **options: Any) -> pl.Trainer:
    pl.seed_everything(0)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, callbacks=[*callbacks], **options,
    )  # fmt: skip
    trainer.fit(Sine(), datamodule=SineData())
    return trainer


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def by_callback(tmp_path_factory: pytest.TempPathFactory) -> export.ExportBundle:
    out = tmp_path_factory.mktemp("callback") / "out"
    callback = export.ExportBundle(out, options=export.ExportOptions(**CHOICES, firmware=out / "project"))
    fitted(QuantizationAwareTraining(start=2), callback)
    return callback


@pytest.mark.onnx
def test_callback_call_and_command_write_the_same(by_callback: export.ExportBundle, tmp_path: Path) -> None:
    checkpoint = by_callback.out / "sine.ckpt"
    call, command = tmp_path / "call", tmp_path / "command"
    bundle = export.export_checkpoint(checkpoint, call, **CHOICES, firmware=call / "project")
    words = [[f"--export.{name}"] if value is True else [f"--export.{name}", value] for name, value in CHOICES.items()]
    asked = [word for each in words for word in each]
    said = [str(checkpoint), "--out", str(command), *asked, "--export.firmware", str(command / "project")]
    assert export_main(said) == 0
    ours, theirs, trained = (files_in(folder) for folder in (call, command, by_callback.out))
    assert set(ours) == set(theirs) == set(trained) - {"sine.ckpt"}
    # Seconds differ, and with them the one file that has them; a manifest has the hash of each.
    for file in set(ours) - {"timings.json", "sine_manifest.json"}:
        assert ours[file] == theirs[file] == trained[file], file
    assert bundle.metrics == by_callback.bundle.metrics  # type: ignore[union-attr]
    listed = [json.loads(each["sine_manifest.json"])["files"] for each in (ours, theirs, trained)]
    for each in listed:
        del each["timings.json"]
    # With what was trained lies where it came from.
    del listed[2]["sine.ckpt"]
    assert listed[0] == listed[1] == listed[2]
    assert str(bundle).replace(str(call), "") == str(by_callback.bundle).replace(str(by_callback.out), "").replace(
        ", sine.ckpt", ""
    )


@pytest.mark.onnx
def test_the_network_alone_gives_the_same_device(by_callback: export.ExportBundle, tmp_path: Path) -> None:
    run = load_run(by_callback.out / "sine.ckpt")
    arrays = run.data.arrays  # type: ignore[union-attr]
    out = tmp_path / "sine"
    bundle = export.export_network(
        run.module.net, out, calibration=arrays.train, test=arrays.test, interface=arrays.interface,  # type: ignore[arg-type]
        **CHOICES,
    )  # fmt: skip
    ours, trained = files_in(out), files_in(by_callback.out)
    # These say where the figures are from: the float network is another one, and no checkpoint or epoch is known.
    about = {"metrics.json", "report.html", "timings.json", "sine_manifest.json", "project/sine_manifest.json"}
    assert set(ours) == set(trained) - {"sine.ckpt"}
    for file in set(ours) - about:
        assert ours[file] == trained[file], file
    figures = by_callback.bundle.metrics["test"]  # type: ignore[union-attr]
    for stage in ("linear_regression", "qat_network", "qat_int8"):
        assert bundle.metrics["test"][stage] == figures[stage]
    shown = {each for each in bundle.metrics if each not in ("sha256", "verdict", "data", "test", "float_network")}
    for name in shown:
        assert bundle.metrics[name] == by_callback.bundle.metrics[name], name  # type: ignore[union-attr]


def test_without_quantization_the_callback_refuses_before_training(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"callbacks=\[QuantizationAwareTraining\(\), ExportBundle"):
        fitted(export.ExportBundle(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_without_the_quantizing_callback_a_fit_is_quantized_after_training(tmp_path: Path) -> None:
    callback = export.ExportBundle(tmp_path / "out", options=export.ExportOptions(post_training=True))
    trainer = fitted(callback, epochs=2)
    bundle = callback.bundle
    assert bundle is not None
    assert list(bundle.metrics["test"])[-1] == "post_training_int8"
    assert "sine.ckpt" not in bundle.files
    data = SineData().arrays
    alone = export.export_network(
        trainer.lightning_module.net,
        calibration=data.train[0],
        c=False,
        onnx=False,
        firmware=None,  # type: ignore[arg-type]
    )
    assert alone.model == bundle.model


def test_a_folder_that_can_not_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    began: list[int] = []

    class Began(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            began.append(1)

    with pytest.raises(Unwritable):
        fitted(QuantizationAwareTraining(start=2), Began(), export.ExportBundle(tmp_path / "out"))
    assert not began


def test_what_an_export_would_refuse_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise BadConfiguration(where="board", expected="room", got="none", remedy="buy one")

    monkeypatch.setattr("export.lightning_run.export_bundle.dry_run", refuse)
    with pytest.raises(BadConfiguration, match="buy one"):
        fitted(QuantizationAwareTraining(start=2), export.ExportBundle(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_was_trained_is_kept_where_the_export_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def differ(*_arguments: Any, **_options: Any) -> None:
        raise ParityError("differs")

    monkeypatch.setattr("export.lightning_run.exported_run.make_bundle", differ)
    callback = export.ExportBundle(tmp_path / "out", name="wave")
    with pytest.raises(ParityError):
        fitted(QuantizationAwareTraining(start=2), callback)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["wave.ckpt"]
    assert callback.bundle is None
    assert load_run(tmp_path / "out" / "wave.ckpt").task == "sine"
    assert "is kept in" in capsys.readouterr().err


def test_an_interrupted_fit_keeps_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Impatient(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        fitted(QuantizationAwareTraining(start=1), export.ExportBundle(tmp_path / "out"), Impatient())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sine_interrupted.ckpt"]
    assert "sine_interrupted.ckpt" in capsys.readouterr().err


def test_a_module_of_ones_own_with_loaders_in_the_call(tmp_path: Path) -> None:
    """Nothing but the checkpoint says which data there were: the export is that of the checkpoint."""
    callback = export.ExportBundle(tmp_path / "out")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, callbacks=[QuantizationAwareTraining(start=1), callback],
    )  # fmt: skip
    trainer.fit(Plain(), DataLoader(TensorDataset(X, Y), batch_size=32))
    bundle = callback.bundle
    assert bundle is not None
    assert (bundle.name, bundle.out) == ("plain", tmp_path / "out")
    again = export.export_checkpoint(tmp_path / "out" / "plain.ckpt", tmp_path / "again")
    assert again.model == bundle.model
    assert again.files["metrics.json"] == bundle.files["metrics.json"]


def test_a_configuration_names_the_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.yaml").write_text(
        "seed_everything: 0\ntrainer:\n  max_epochs: 1\n  callbacks:\n    - class_path: export.ExportBundle\n"
        "      init_args:\n        out: build/x\n        options:\n          c: true\n"
    )
    monkeypatch.setattr(sys, "argv", ["qtorch", "--config", str(tmp_path / "run.yaml")])
    cli = QuantizationCLI(Sine, SineData, run=False, save_config_callback=None)
    callbacks: list[Any] = cli.trainer.callbacks  # type: ignore[attr-defined]
    (made,) = [each for each in callbacks if isinstance(each, export.ExportBundle)]
    assert (made.out, made.options) == (Path("build/x"), export.ExportOptions(c=True))


#: What an earlier README named: the module, its name, and the one that is meant.
EARLIER = [
    ("export.integers", "integer_graph", "export.integer_graph"),
    ("export.interpret", "interpret", "export.graph.interpret.interpret"),
    ("recipes.pipeline", "main", "export.pipeline.main"),
]


@pytest.mark.parametrize(("module", "name", "now"), EARLIER)
def test_earlier_names_work_and_name_the_new_one(module: str, name: str, now: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{now} now; the earlier name goes in 0.3") as warned:
        value = getattr(import_module(module), name)
    home, _, last = now.rpartition(".")
    assert value is getattr(import_module(home), last)
    assert warned[0].filename == __file__
    with pytest.raises(AttributeError, match="no_such"):
        _ = import_module(module).no_such


HEAVY = ("pytorch_lightning", "lightning", "rich", "jsonargparse", "onnx", "onnxruntime", "tensorflow", "torchmetrics")


def test_what_is_public_is_named_and_imported_when_it_is_asked_for() -> None:
    code = f"""
import sys, qtorch, export
import export.parity, export.tflite, export.graph
print(sorted(set(sys.modules) & set({HEAVY!r})))
for package in (export, export.parity, export.tflite, export.graph, qtorch):
    for name in package.__all__:
        assert name in dir(package), name
        assert getattr(package, name) is not None, name
from export.parity import parity, corner_codes
from export.tflite import write_tflite
assert callable(parity) and callable(corner_codes) and callable(write_tflite)
for package in (export, export.parity):
    try:
        package.no_such_name
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError(package)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_call_for_a_network_imports_no_lightning() -> None:
    code = (
        "import sys, torch, qtorch, export; from torch import nn; x = torch.rand(40, 3); "
        "export.export_network(nn.Linear(3, 2), calibration=x, c=False, onnx=False, firmware=None); "
        "print(sorted(set(sys.modules) & {'pytorch_lightning', 'jsonargparse', 'onnx', 'tensorflow'}))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
