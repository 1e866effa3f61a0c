"""The report of a module without a class of this project: classes, confusion matrix, headline, single outputs."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.__main__ import main as export_main
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import plain_text
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.tflite.reader import read_tflite
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run
from qtorch.lightning.replacing import replace_network
from tests.plain_lightning import Plain, PlainData, X, calibrated_run
from tests.small_task import small_trainer

CENTRES = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def gestures(seed: int, count: int = 300) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (count,), generator=generator)
    return CENTRES[target] + 0.7 * torch.randn(count, 2, generator=generator), target


class Gestures(pl.LightningModule):
    """As anyone writes a classifier."""

    columns = ("accuracy", "loss")
    better: ClassVar = {"accuracy": "higher", "loss": "lower"}
    class_names: ClassVar = ["rest", "punch", "flex"]

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
        self.example_input_array = torch.zeros(1, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        output = self.net(batch[0])
        self.log("loss", nn.functional.cross_entropy(output, batch[1]))
        self.log("accuracy", (output.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.03)


class Recordings(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*gestures(0)), batch_size=50, shuffle=True)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*gestures(1)), batch_size=64)


def trained(module: pl.LightningModule, path: Path) -> Path:
    torch.manual_seed(0)
    trainer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=6)
    trainer.fit(module, datamodule=Recordings())
    trainer.save_checkpoint(path)
    return path


@pytest.mark.tflm
def test_a_classifier_of_ones_own(tmp_path: Path, capsys: Any) -> None:
    from tflite_micro import runtime

    checkpoint, out = trained(Gestures(), tmp_path / "g.ckpt"), tmp_path / "out"
    command = [str(checkpoint), "--out", str(out), "--name", "g", "--export.metadata"]
    assert export_main(command) == 0
    printed, metrics = capsys.readouterr().out, json.loads((out / "metrics.json").read_text())
    # Counted here, from the file in TFLite Micro.
    model = (out / "g.tflite").read_bytes()
    graph = read_tflite(model)
    source, sink = (graph.values[names[0]].qparams for names in (graph.inputs, graph.outputs))
    assert source is not None
    assert sink is not None
    interpreter, counts = runtime.Interpreter.from_bytes(model), [[0] * 3 for _ in range(3)]
    for x, target in zip(*gestures(1), strict=True):
        interpreter.set_input(source.quantize(x.numpy()[None]), 0)
        interpreter.invoke()
        counts[int(target)][int(interpreter.get_output(0).argmax())] += 1
    assert metrics["confusion"]["classes"] == ["rest", "punch", "flex"]
    assert metrics["confusion"]["qat_int8"] == counts
    right = sum(counts[i][i] for i in range(3)) / 300
    assert metrics["test"]["qat_int8"]["accuracy"] == pytest.approx(right)
    found = metrics["verdict"]
    assert (found["figure"], found["better"], found["samples"]) == ("accuracy", "higher", 300)
    assert found["device"] == pytest.approx(right)
    assert found["low"] < right < found["high"]
    commonest = max(torch.bincount(gestures(1)[1]).tolist()) / 300
    (constant,) = (each for each in found["comparisons"] if each["kind"] == "constant")
    assert (constant["against"], constant["figure"]) == ("the commonest class", pytest.approx(commonest))
    assert printed.splitlines()[-1].startswith("verdict: ")
    html = (out / "report.html").read_text()
    assert html.count("confusion matrix, ") >= 2
    assert re.search(r"<th[^>]*>punch</th>", html)
    assert "punch" in (out / "g_metadata.h").read_text()


class OtherHeadline(Gestures):
    columns = "loss"
    better: ClassVar = {}


def test_the_headline_is_ones_own(tmp_path: Path) -> None:
    from qtorch.lightning.checkpoint import load_run

    run = load_run(trained(OtherHeadline(), tmp_path / "g.ckpt"))
    bundle = make_bundle(subject_of(run), "g", ExportOptions())
    assert bundle.verdict is not None
    assert (bundle.verdict.figure, bundle.verdict.better) == ("loss", "lower")
    # The best that can be said without looking is how common each class is: its entropy.
    shares = torch.bincount(gestures(1)[1]).double() / 300
    (constant,) = (each for each in bundle.verdict.comparisons if each.kind == "constant")
    assert constant.figure == pytest.approx(float(-(shares * shares.log()).sum()), rel=1e-4)
    assert list(bundle.metrics["columns"]) == ["loss"]
    assert plain_text(outcome_page(bundle)).splitlines()[0].split() == ["test", "set", "loss"]
    for attribute, wrong, said in (
        ("class_names", ["rest", "punch"], "expected 3 names, one for each output of the network, got 2"),
        ("class_names", "rest", "expected a list of names"),
        ("better", "smaller", "expected 'higher' or 'lower' for 'loss', got 'smaller'"),
        ("contributions", lambda x, output, target: 1 / 0, "contributions: expected a dict .* got ZeroDivisionError"),
        ("better", {"loss": "smaller"}, "expected 'higher' or 'lower' for 'loss', got 'smaller'"),
    ):
        setattr(run.module, attribute, wrong)
        with pytest.raises(BadConfiguration, match=said):
            make_bundle(subject_of(run), "g", ExportOptions())
        delattr(run.module, attribute)


def test_columns_that_nobody_logs_are_said() -> None:
    class Misspelt(Plain):
        columns = ("acuracy", "mse")

    bundle = make_bundle(subject_of(calibrated_run(Misspelt, PlainData())), "plain", ExportOptions())
    assert bundle.metrics["columns"] == ["mse"]
    assert "'acuracy'" in plain_text(outcome_page(bundle))


SPANS = torch.tensor([100.0, 1.0])


class TwoSizes(Plain):
    """A mass of a hundred and a time of one from the same layer."""

    output_names: ClassVar = ["mass", "time"]

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        with torch.no_grad():
            self.net[2].weight *= SPANS[:, None]  # type: ignore[operator]


class TwoTargets(PlainData):
    def test_dataloader(self) -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(5)
        x, y = torch.rand(200, 4, generator=generator), torch.rand(200, 2, generator=generator) * SPANS
        return DataLoader(TensorDataset(x, y), batch_size=50)

    train_dataloader = test_dataloader  # type: ignore[assignment]


def test_every_output_has_figures_of_its_own() -> None:
    torch.manual_seed(0)
    module, qat = TwoSizes(), QuantizationAwareTraining()
    qat.original = copy.deepcopy(module.net)
    network = qtorch.prepare(module.net, module.example_input_array, qat.config)
    qtorch.calibrate(network, [X])
    qtorch.set_mode(network, qtorch.Mode.QUANTIZED)
    replace_network(module, network)
    run = Run("two", module.eval(), TwoTargets(), qat)
    bundle = make_bundle(subject_of(run), "two", ExportOptions())
    mass, time = bundle.metrics["outputs"]
    assert (mass["name"], time["name"]) == ("mass", "time")
    x, target = next(iter(DataLoader(TwoTargets().test_dataloader().dataset, batch_size=200)))
    with torch.no_grad():
        real = run.module.net(x)
        values = [len(column.unique()) for column in real.T]
    # The network's own outputs lie on the grid.
    assert time["levels"] == values[1]
    assert mass["levels"] > 3 * time["levels"]
    assert mass["r2_device"] == pytest.approx(
        float(1 - (real[:, 0] - target[:, 0]).square().mean() / target[:, 0].var(correction=0)), abs=0.1, rel=0.05
    )
    printed = plain_text(outcome_page(bundle))
    assert re.search(r"^time +\d+ ", printed, re.MULTILINE)
    assert "unequal outputs: output 1 (time): " in printed
    html = bundle.files["report.html"].decode()
    assert "each output by itself" in html
    assert "unequal outputs" in html
