"""Exports of runs whose data are gone, or that never had a data module: what can be had, and what is left out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from export.__main__ import main as export_main
from export.bundle.bundle import Bundle
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import plain_text
from export.engines import TFLM
from export.graph.build import integer_graph
from export.lightning_run.network_inputs import network_inputs
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.parity.outputs import compare_file
from export.tflite.reader import read_tflite
from qtorch.errors import BadConfiguration, BadData
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.data import ArrayDataModule, Arrays
from qtorch.lightning.regression import Regression
from tests.plain_lightning import TRAINED, Plain, PlainData, X, Y, calibrated_run, loader, mse_in_tflm
from tests.small_task import small_trainer


class Gone(PlainData):
    """Both files were deleted."""

    def train_dataloader(self) -> Any:
        raise FileNotFoundError("train.csv is gone")

    def test_dataloader(self) -> Any:
        raise PermissionError("test.csv is locked")


class TestGone(PlainData):
    __test__ = False

    def test_dataloader(self) -> Any:
        raise RuntimeError("Dataset not found. You can use download=True to download it")


class TrainGone(PlainData):
    def train_dataloader(self) -> Any:
        raise BadData(where="train.csv", expected="a file", got="none", remedy="bring it")


class Offline(PlainData):
    def prepare_data(self) -> None:
        raise ConnectionError("no route to host")


class Untested(Plain):
    test_step = pl.LightningModule.test_step


class Silent(Plain):
    def test_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])


class WithoutTest(PlainData):
    test_dataloader = pl.LightningDataModule.test_dataloader


class Empty(PlainData):
    def test_dataloader(self) -> Any:
        return []


class OwnLoaders(Plain):
    """Its data are its own affair."""

    def setup(self, stage: str) -> None:
        self.ready = stage

    def train_dataloader(self) -> Any:
        assert self.ready == "fit"
        return loader("train")

    def test_dataloader(self) -> Any:
        assert self.ready == "test"
        return loader("test")


@pytest.fixture(scope="module")
def complete() -> Bundle:
    """An export with all that there is."""
    return make_bundle(subject_of(calibrated_run(Plain, PlainData())), "plain", ExportOptions())


ALL = {"test", "quantization_report.csv", "predictions", "layers", "ptq_int8"}
#: Module, data, stages that have figures, what is left out, and why.
CASES: dict[str, tuple[type[Plain], type[PlainData] | None, int, set[str], str]] = {
    "gone": (Plain, Gone, 0, ALL - {"ptq_int8"}, "no test data: PermissionError: test.csv is locked"),
    "test gone": (Plain, TestGone, 0, ALL - {"ptq_int8"}, "no test data: RuntimeError: Dataset not found"),
    "train gone": (Plain, TrainGone, 3, {"ptq_int8"}, "no training data: train.csv: expected a file, got none"),
    "offline": (Plain, Offline, 0, ALL - {"ptq_int8"}, "no test data: ConnectionError: no route to host"),
    "plain loaders": (
        Plain,
        None,
        0,
        ALL - {"ptq_int8"},
        "no test data: the run has no data module, and Plain has no test_",
    ),
    "no test loader": (Plain, WithoutTest, 0, ALL - {"ptq_int8"}, "no test data: WithoutTest has no test_dataloader"),
    "no batches": (Plain, Empty, 0, ALL - {"ptq_int8"}, "no test data: test_dataloader of Empty gives no batch"),
    "no test step": (Untested, PlainData, 0, {"test"}, "Untested has no test_step; write a test_step"),
    "silent test step": (Silent, PlainData, 0, {"test"}, "test_step of Silent logs nothing; write a test_step"),
    "own loaders": (OwnLoaders, None, 4, set(), ""),
}


@pytest.mark.tflm
@pytest.mark.usefixtures("all_drawn_inputs")
@pytest.mark.parametrize("case", CASES)
def test_what_needs_no_data_is_exported(case: str, complete: Bundle) -> None:
    module, data, stages, left_out, reason = CASES[case]
    run = calibrated_run(module, data and data())
    bundle = make_bundle(subject_of(run), "plain", ExportOptions())
    # The file is the trained network's, whatever happened to the data.
    model = bundle.files["plain.tflite"]
    assert model == complete.files["plain.tflite"]
    assert compare_file(integer_graph(run.module.net), model).value_mismatches == 0  # type: ignore[arg-type]
    assert bundle.parity is not None
    assert bundle.parity.engines["tflm"].inputs >= 10_000
    found = bundle.metrics.get("left_out", {})
    assert set(found) == left_out
    assert len(bundle.metrics["test"]) == stages
    if stages:
        assert bundle.metrics["test"]["qat_int8"]["mse"] == pytest.approx(mse_in_tflm(model), rel=1e-5)
    printed = plain_text(outcome_page(bundle))
    assert ("left out: " in printed) == bool(left_out)
    assert all(reason in why for why in found.values())
    assert all(why in printed for why in found.values())
    assert json.loads(bundle.files["metrics.json"]).get("left_out", {}) == found
    page = bundle.files["report.html"].decode()
    assert page.count("left out: ") == bool(left_out)
    assert reason in page
    assert ("quantization_report.csv" in bundle.files) == ("quantization_report.csv" not in left_out)
    assert set(complete.files) - set(bundle.files) <= {"quantization_report.csv"}


@pytest.mark.tflm
def test_vectors_without_data_are_the_devices() -> None:
    bundle = make_bundle(subject_of(calibrated_run(Plain, Gone())), "plain", ExportOptions())
    text = bundle.files["plain_test_vectors.h"].decode()
    arrays = [np.array(re.findall(r"-?\d+", body), np.int8) for body in re.findall(r"=\s*\{(.*?)\};", text, re.DOTALL)]
    inputs, outputs = (array.reshape(-1, n) for array, n in zip(arrays[-2:], (4, 1), strict=True))
    assert len(inputs) == len(outputs) == 32
    assert len(np.unique(inputs, axis=0)) > 20
    (got,) = TFLM.run(bundle.files["plain.tflite"], (inputs,))
    assert np.array_equal(got, outputs)


@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic_range"])
def test_float_formats_without_data(kind: Any) -> None:
    run = calibrated_run(Plain, Gone())
    bundle = make_bundle(subject_of(run), "plain", ExportOptions(format=kind))
    assert bundle.metrics["test"] == {}
    assert set(bundle.metrics["left_out"]) == {"test"}
    assert "left out: test figures (no test data: PermissionError" in plain_text(outcome_page(bundle))
    found = json.loads(bundle.files["parity.json"])
    assert found["judges"]["litert_reference"]["inputs"] == 200
    if kind == "float32":
        graph = read_tflite(bundle.files["plain.tflite"])
        (got,) = TFLM.run(bundle.files["plain.tflite"], (X.numpy(),))
        with torch.no_grad():
            assert np.allclose(got, subject_of(run).networks.float_network()(X).numpy(), atol=1e-4)
        assert graph.values[graph.inputs[0]].qparams is None


@pytest.mark.parametrize("steps", [{}, {"round_adaptively": True}])
def test_post_training_quantization_wants_training_data(steps: Any) -> None:
    options = ExportOptions(post_training=True, **steps)
    with pytest.raises(BadData, match=r"training data: .*got FileNotFoundError: train.csv is gone\. Remedy"):
        make_bundle(subject_of(calibrated_run(Plain, Gone())), "plain", options)
    # Those of the test are not needed.
    bundle = make_bundle(subject_of(calibrated_run(Plain, TestGone())), "plain", ExportOptions(post_training=True))
    assert set(bundle.metrics["left_out"]) == ALL - {"ptq_int8"}


def test_several_loaders_of_one_part() -> None:
    class Several(PlainData):
        def train_dataloader(self) -> Any:
            return [loader("test"), loader("test")]

        def test_dataloader(self) -> Any:
            return [loader("test"), loader("test")]

    class FirstOf(Plain):
        def network_inputs(self, batch: Any) -> Tensor:
            first: Tensor = batch[0] if isinstance(batch[0], Tensor) else batch[0][0]
            return first

    found = network_inputs(calibrated_run(FirstOf, Several()))
    assert (len(found["train"]), len(found["test"])) == (64, 128)


class Foreign(Regression):
    """A shipped task on a data module of someone else's."""

    def __init__(self) -> None:
        super().__init__(Plain().net, 4)


def test_a_tasks_figures_go_by_their_names_on_foreign_data_too() -> None:
    run = calibrated_run(Foreign, PlainData())
    bundle = make_bundle(subject_of(run), "plain", ExportOptions())
    columns = bundle.metrics["columns"]
    assert columns == list(Foreign.columns)
    with torch.no_grad():
        (x, target), output = (X[TRAINED:], Y[TRAINED:]), subject_of(run).networks.float_network()(X[TRAINED:])
    wanted = Foreign.metrics(run.module, x, output, target)  # type: ignore[arg-type]
    assert bundle.metrics["test"]["float"] == pytest.approx(wanted, rel=1e-5)
    assert plain_text(outcome_page(bundle)).startswith("test set")


class OtherColumns(Plain):
    columns = ("accuracy", "mse")


def test_columns_that_no_test_step_logs_are_left_out() -> None:
    bundle = make_bundle(subject_of(calibrated_run(OtherColumns, PlainData())), "plain", ExportOptions())
    assert bundle.metrics["columns"] == ["mse"]
    assert plain_text(outcome_page(bundle)).startswith("test set")


def test_what_is_drawn_to_shuffle_is_nobody_elses() -> None:
    run = calibrated_run(Plain, PlainData())
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    network_inputs(run)
    assert torch.equal(torch.rand(1), expected)


# Commands ------------------------------------------------------------------------------------------------------------


def trained(tmp_path: Path, data: str) -> Path:
    """A checkpoint, whose data module has become another one."""
    trainer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=2)
    trainer.fit(Plain(), datamodule=PlainData())
    path = tmp_path / "run.ckpt"
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["qtorch"]["data"]["class_path"] = data
    torch.save(content, path)
    return path


@pytest.mark.tflm
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("tests.test_export_without_data.Gone", "no test data: PermissionError: test.csv is locked"),
        ("tests.no_such_data.Gone", "no test data: the data module can't be made"),
    ],
)
def test_the_commands_without_data(data: str, reason: str, tmp_path: Path, capsys: Any) -> None:
    path, out = trained(tmp_path, data), tmp_path / "out"
    assert export_main([str(path), "--out", str(out)]) == 0
    assert f"predictions, cost of each layer ({reason}" in capsys.readouterr().out
    assert export_main(["verify", str(out / "plain.tflite"), "--against", str(path)]) == 0
    capsys.readouterr()
    for command in (
        ["sensitivity", str(path)],
        ["compare", str(path)],
        [str(path), "--out", str(tmp_path / "other"), "--export.post_training"],
    ):
        assert export_main(command) == 2
        assert "error: training data: expected the data module" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.tflm
def test_a_run_with_plain_loaders_is_exported(tmp_path: Path, capsys: Any) -> None:
    trainer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=2)
    trainer.fit(Plain(), train_dataloaders=loader("train"))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    assert export_main([str(tmp_path / "run.ckpt"), "--out", str(tmp_path / "out")]) == 0
    assert "no test data: the run has no data module" in capsys.readouterr().out
    trainer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=2)
    trainer.fit(OwnLoaders())
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    assert export_main([str(tmp_path / "own.ckpt"), "--out", str(tmp_path / "own")]) == 0
    assert "left out" not in capsys.readouterr().out
    figures = json.loads((tmp_path / "own" / "metrics.json").read_text())["test"]
    model = (tmp_path / "own" / "ownloaders.tflite").read_bytes()
    assert figures["qat_int8"]["mse"] == pytest.approx(mse_in_tflm(model), rel=1e-5)


def test_a_checkpoint_of_float_training_is_offered_quantization_without_training(tmp_path: Path, capsys: Any) -> None:
    out, kept = tmp_path / "out", pl.callbacks.ModelCheckpoint(tmp_path / "kept", save_top_k=-1)
    trainer = small_trainer(QuantizationAwareTraining(start=2), kept, max_epochs=3, enable_checkpointing=True)
    trainer.fit(Plain(), datamodule=PlainData())
    early = next((tmp_path / "kept").glob("epoch=1*.ckpt"))
    assert export_main([str(early), "--out", str(out)]) == 2
    assert "--export.post_training" in capsys.readouterr().err
    assert not out.exists()
    assert export_main([str(early), "--out", str(out), "--export.post_training"]) == 0
    graph = read_tflite((out / "plain.tflite").read_bytes())
    assert graph.values[graph.inputs[0]].dtype == "int8"


def test_a_network_that_was_never_prepared_is_refused() -> None:
    run = calibrated_run(Plain, PlainData())
    run.module.net = run.qat.original
    with pytest.raises(BadConfiguration, match=r"callback has prepared, got Sequential.*--export.post_training"):
        make_bundle(subject_of(run), "plain", ExportOptions())


# Data modules in memory ----------------------------------------------------------------------------------------------


class LostArrays(ArrayDataModule):
    def load(self) -> Arrays:
        raise BadData(where="cars.csv", expected="a file", got="none", remedy="bring it back")


@pytest.mark.tflm
def test_a_recipe_without_its_table(fuel_out: Path) -> None:
    run = load_run(fuel_out / "fuel.ckpt")
    assert isinstance(run.data, ArrayDataModule)
    expected, lost = make_bundle(subject_of(run), "fuel", ExportOptions()), replace(run, data=LostArrays())
    bundle = make_bundle(subject_of(lost), "fuel", ExportOptions())
    assert bundle.files["fuel.tflite"] == expected.files["fuel.tflite"]
    assert set(bundle.metrics["left_out"]) == (ALL - {"ptq_int8"}) | {"interface"}
    assert "names and scaling of inputs and outputs in the headers" in plain_text(outcome_page(bundle))
    described = make_bundle(subject_of(lost), "fuel", ExportOptions(metadata=True, c=True))
    assert compare_file(integer_graph(run.module.net), described.files["fuel.tflite"]).value_mismatches == 0  # type: ignore[arg-type]
