"""The fuel command from end to end, in a few epochs: artefacts, determinism, checkpoints, refusals."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

import qtorch
from export.__main__ import main as export_main
from export.graph.passes.float_interface import float_interface
from export.pipeline import main
from export.tflite.arena import smallest_arena
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.lightning.callback import QuantizationAwareTraining
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine
from tests.conftest import FUEL_CONFIG, run_fuel
from tests.warm_python import warm_python

pytestmark = pytest.mark.tflm

FILES = {
    "fuel.tflite",
    "fuel_named.tflite",
    "fuel.ckpt",
    "fuel_model_data.h",
    "fuel_model_data.cc",
    "fuel_quantization.h",
    "fuel_op_resolver.h",
    "fuel_arena.h",
    "fuel_layer_checks.h",
    "fuel_test_vectors.h",
    "metrics.json",
    "parity.json",
    "quantization_report.csv",
    "report.html",
    "timings.json",
    "fuel_manifest.json",
}


def test_artefacts_and_figures(fuel_out: Path) -> None:
    assert {p.name for p in fuel_out.iterdir()} == FILES
    metrics = json.loads((fuel_out / "metrics.json").read_text())
    assert metrics["data"] == {"source": "synthetic", "rows": 638, "dropped": 0, "train": 446, "test": 192}
    stages = ["linear_regression", "float", "ptq_int8", "qat_network", "qat_int8"]
    assert list(metrics["test"]) == stages
    for figures in metrics["test"].values():
        assert set(figures) == {"mse", "mae", "rmse", "r2"}
        assert all(math.isfinite(v) for v in figures.values())
    assert metrics["tflite_bytes"] == (fuel_out / "fuel.tflite").stat().st_size
    assert metrics["tflite_bytes"] <= 3200
    seconds = json.loads((fuel_out / "timings.json").read_text())["seconds"]
    assert set(seconds) == {"data", "float", "qat", "export", "arena", "parity"}
    parity = json.loads((fuel_out / "parity.json").read_text())
    assert parity["engines"]["tflm"]["inputs"] >= 10_000
    assert parity["engines"]["tflm"]["mismatches"] == parity["qparams"]["mismatches"] == 0
    assert set(parity["engines"]) >= {"tflm", "litert_reference", "litert_default", "qat_network"}
    assert not parity["exhaustive"]


@pytest.mark.usefixtures("all_drawn_inputs")
def test_the_same_seed_gives_the_same_bytes(fuel_out: Path, tmp_path: Path) -> None:
    assert run_fuel("--out", tmp_path / "again") == 0
    for file in FILES - {"timings.json"}:
        assert (tmp_path / "again" / file).read_bytes() == (fuel_out / file).read_bytes(), file
    assert run_fuel("--out", tmp_path / "other", "--seed_everything", 1) == 0
    assert (tmp_path / "other" / "fuel.tflite").read_bytes() != (fuel_out / "fuel.tflite").read_bytes()


def test_name_and_float_interface(tmp_path: Path) -> None:
    assert run_fuel("--out", tmp_path / "o", "--name", "class", "--export.io", "float32") == 0
    names = {p.name for p in (tmp_path / "o").iterdir()}
    assert "class_model.tflite" in names
    assert "AddQuantize" in (tmp_path / "o" / "class_model_op_resolver.h").read_text()
    assert export_main(["verify", str(tmp_path / "o" / "class_model.tflite")]) == 0


@pytest.mark.tflm
def test_int16_goes_all_the_way_but_into_no_application(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert run_fuel("--out", out, "--qat.activations", "int16") == 0
    assert "static inline int16_t fuel_quantize_co2(float physical)" in (out / "fuel_quantization.h").read_text()
    assert "static const int16_t FUEL_TEST_STORAGE fuel_test_outputs" in (out / "fuel_test_vectors.h").read_text()
    arguments = [str(out / "fuel.ckpt"), "--out", str(tmp_path / "o"), "--export.firmware", str(tmp_path / "f")]
    assert export_main(arguments) == 2
    assert "expected a network with int8 inputs and outputs, got int16 at" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.usefixtures("all_drawn_inputs")
def test_a_checkpoint_exports_the_same_again(fuel_out: Path, tmp_path: Path) -> None:
    assert export_main([str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "o")]) == 0
    for file in FILES - {"timings.json", "fuel.ckpt", "fuel_manifest.json"}:
        assert (tmp_path / "o" / file).read_bytes() == (fuel_out / file).read_bytes(), file
    a, b = (json.loads((folder / "metrics.json").read_text())["test"] for folder in (fuel_out, tmp_path / "o"))
    assert a == b


def test_verify(fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model, checkpoint = fuel_out / "fuel.tflite", fuel_out / "fuel.ckpt"
    assert export_main(["verify", str(model), "--against", str(checkpoint)]) == 0
    assert ["tflm", "10008", "100.00%", "0", "must", "agree"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    changed = bytearray(model.read_bytes())
    graph_weight = changed.rindex(max(changed[i : i + 512] for i in range(0, len(changed) - 512, 16)))
    changed[graph_weight + 5] ^= 1
    (tmp_path / "changed.tflite").write_bytes(changed)
    assert export_main(["verify", str(tmp_path / "changed.tflite"), "--against", str(checkpoint)]) != 0


def foreign_checkpoint(fuel_out: Path, tmp_path: Path) -> Path:
    content = torch.load(fuel_out / "fuel.ckpt", weights_only=True)
    content["qtorch"]["module"]["init_args"]["hidden"] = (4, 4)
    torch.save(content, tmp_path / "foreign.ckpt")
    return tmp_path / "foreign.ckpt"


def test_bad_checkpoints_and_models_exit_with_2(fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = tmp_path / "text.ckpt"
    text.write_text("no checkpoint")
    plain = tmp_path / "plain.ckpt"
    torch.save({"state_dict": {}}, plain)
    for checkpoint in (text, plain, tmp_path / "absent.ckpt", foreign_checkpoint(fuel_out, tmp_path)):
        assert export_main([str(checkpoint), "--out", str(tmp_path / "o")]) == 2, checkpoint
        assert "Remedy" in capsys.readouterr().err
    short = tmp_path / "short.tflite"
    short.write_bytes((fuel_out / "fuel.tflite").read_bytes()[:700])
    for model in (short, text, tmp_path / "absent.tflite"):
        assert export_main(["verify", str(model)]) == 2, model
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.csv", "absent.csv"], ["absent.csv"]),
        (["--model.learning_rate", "1e30"], ["loss", "nan"]),
        (["--qat.start", "1.5"], ["qat.start", "1.5"]),
        (["--out", "/dev/null/x"], ["--out", "/dev/null"]),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(
    tmp_path: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert run_fuel("--out", out, *arguments) == 2
    message = capsys.readouterr().err
    assert "Remedy" in message
    assert all(word in message for word in words), message
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``--resume`` keeps of a run of 6 epochs."""
    folder = tmp_path_factory.mktemp("resumed")
    assert run_fuel("--out", folder / "out", "--resume", folder / "resume") == 0
    return folder / "resume"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model.hidden", "[4, 4]"], ["resume.ckpt", "model.hidden", "[32, 16, 8]", "4, 4"]),
        (["--qat.scales", "lsq"], ["resume.ckpt", "qat.scales", "'measured'", "'lsq'"]),
        (["--trainer.max_epochs", "3"], ["trainer.max_epochs", "5"]),
    ],
)
def test_a_run_that_cannot_go_on_exits_with_2(
    resumed: Path, tmp_path: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture
) -> None:
    before = (resumed / "resume.ckpt").read_bytes()
    assert run_fuel("--out", tmp_path / "out", "--resume", resumed, *arguments) == 2
    message = capsys.readouterr().err
    assert "Remedy" in message
    assert all(word in message for word in words), message
    assert list(tmp_path.iterdir()) == []
    assert (resumed / "resume.ckpt").read_bytes() == before


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", "plain"])
def test_a_subcommand_refuses_what_is_no_checkpoint(
    tmp_path: Path, command: str, content: bytes | str | None, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "some.ckpt"
    if content == "plain":
        torch.save({"state_dict": {"net.0.weight": torch.zeros(1)}}, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    assert main(FuelConsumption, FuelData, FUEL_CONFIG, [command, "--ckpt_path", str(path)]) == 2
    message = capsys.readouterr().err
    assert "some.ckpt" in message
    assert "Remedy" in message


def test_a_second_quantization_is_refused(capsys: pytest.CaptureFixture) -> None:
    arguments = ["fit", "--trainer.callbacks", "qtorch.lightning.callback.QuantizationAwareTraining"]
    assert main(FuelConsumption, FuelData, FUEL_CONFIG, arguments) == 2
    assert "trainer.callbacks: expected no QuantizationAwareTraining" in capsys.readouterr().err


def test_an_export_leaves_other_files_alone(fuel_out: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    shutil.copy(fuel_out / "fuel.ckpt", tmp_path)
    assert export_main([str(tmp_path / "fuel.ckpt"), "--out", str(tmp_path)]) == 0
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_subcommands_and_help(tmp_path: Path) -> None:
    def fuel(*arguments: str) -> str:
        done = warm_python(["-W", "ignore", "-m", "recipes.fuel_qat", *arguments], FUEL_CONFIG.parents[2])
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = fuel("--help")
    for option in ("--out", "--name", "--export.c", "--data.csv", "--model.loss", "--trainer.max_epochs", "fit"):
        assert option in listed
    assert "--export.io" in fuel("--help.export")
    quick = ["--trainer.max_epochs", "2", "--trainer.default_root_dir", str(tmp_path)]
    fuel("fit", *quick, "--trainer.enable_checkpointing", "true")
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert export_main([str(checkpoint), "--out", str(tmp_path / "o")]) == 0
    for command in ("validate", "predict"):
        fuel(command, *quick, "--ckpt_path", str(checkpoint))
    assert "test_mse" in fuel("test", *quick, "--ckpt_path", str(checkpoint))


def test_a_restored_checkpoint_computes_quantized(fuel_out: Path) -> None:
    module, qat = FuelConsumption(), QuantizationAwareTraining(margin=0.2)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, callbacks=[qat], enable_progress_bar=False, enable_checkpointing=False
    )
    (figures,) = trainer.test(module, datamodule=FuelData(), ckpt_path=fuel_out / "fuel.ckpt", verbose=False)
    stages = json.loads((fuel_out / "metrics.json").read_text())["test"]
    assert figures["test_mse"] == pytest.approx(stages["qat_network"]["mse"], rel=1e-5)
    assert figures["test_mse"] != pytest.approx(stages["float"]["mse"], rel=1e-5)
    assert {quantizer.mode for quantizer in qtorch.quantizers(module).values()} == {qtorch.Mode.QUANTIZED}


def test_sine_is_checked_on_every_input(tmp_path: Path) -> None:
    config = FUEL_CONFIG.parents[1] / "sine_qat" / "config.yaml"
    quick = ["--trainer.max_epochs", "4", "--trainer.enable_progress_bar", "false", "--out", str(tmp_path / "o")]
    assert main(Sine, SineData, config, quick) == 0
    parity = json.loads((tmp_path / "o" / "parity.json").read_text())
    assert parity["exhaustive"]
    assert parity["engines"]["tflm"]["inputs"] == 256
    metrics = json.loads((tmp_path / "o" / "metrics.json").read_text())
    assert metrics["tflite_bytes"] <= 2000


def test_a_range_that_training_outgrows_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Lightning asks of its reader of options would come out of the block below as an error, were it the first.
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    with pytest.warns(UserWarning, match=r"saturated range: .* outside.*Remedy: .*qat\.margin"):
        run_fuel("--out", tmp_path / "o", "--qat.margin", 0, "--model.qat_learning_rate", 1.0)


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_the_arena_is_the_smallest(fuel_out: Path, io: str) -> None:
    model = (fuel_out / "fuel.tflite").read_bytes()
    if io == "float32":
        model = write_tflite(float_interface(read_tflite(model)))
    found = smallest_arena(model)
    code = "import sys; from tflite_micro import runtime; m = sys.stdin.buffer.read(); "
    code += "runtime.Interpreter.from_bytes(m, arena_size=int(sys.argv[1]))"
    works = [
        subprocess.run([sys.executable, "-c", code, str(n)], input=model, capture_output=True).returncode == 0
        for n in (found, found - 16)
    ]
    assert works == [True, False]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc; install it, for example: apt install gcc")
@pytest.mark.parametrize("part", ["quantization", "arena", "test_vectors", "model_data", "op_resolver"])
def test_every_header_compiles_by_itself(fuel_out: Path, part: str) -> None:
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    header = str(fuel_out / f"fuel_{part}.h")
    done = subprocess.run(["gcc", "-x", "c", *strict, header], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, qtorch, export, export.bundle.make; print(sorted(set(sys.modules) & {'tensorflow', 'onnx'}))"
    # Whoever has imported more of the project has not imported them either.
    found = warm_python(["-W", "ignore", "-c", code], FUEL_CONFIG.parents[2])
    assert (found.returncode, found.stdout.strip()) == (0, "[]")
