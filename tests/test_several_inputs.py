"""A network with several inputs, called in the ways that people have: trained, calibrated, exported, reported."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import qtorch
from export.__main__ import main as export_main
from export.bundle.make import make_bundle
from export.graph.interpret import interpret
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.tflite.reader import read_tflite
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run, load_run
from tests.small_task import small_trainer

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
]

ROWS, TRAINED = 160, 96
_DRAWN = torch.Generator().manual_seed(0)
A, B = torch.rand(ROWS, 4, generator=_DRAWN), torch.rand(ROWS, 3, generator=_DRAWN) * 5 - 2
Y = A.sum(1, keepdim=True) - B[:, :1]


class Two(nn.Module):
    """Two branches of unlike ranges that meet."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(6, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.head(torch.relu(self.left(a) + self.right(b)))


class Positional(pl.LightningModule):
    """Calls ``self.net(a, b)``, with what its batch has of them."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = Two()
        self.example_input_array = (torch.zeros(1, 4), torch.zeros(1, 3))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(a, b)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self(batch[0], batch[1] * 2), batch[2])

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("mse", mse_loss(self(batch[0], batch[1] * 2), batch[2]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.05)


class ByName(Positional):
    """Calls ``self.net(b=..., a=...)``."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(b=b, a=a)


class Mixed(Positional):
    """Calls ``self.net(a, b=...)``."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(a, b=b)


class Rows(pl.LightningDataModule):
    """Batches of three."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(A[:TRAINED], B[:TRAINED], Y[:TRAINED]), batch_size=32, shuffle=True)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(A[TRAINED:], B[TRAINED:], Y[TRAINED:]), batch_size=32)


@cache
def trained(kind: type[Positional]) -> tuple[Run, pl.Trainer]:
    torch.manual_seed(0)
    module, data, qat = kind(), Rows(), QuantizationAwareTraining(start=8)
    trainer = small_trainer(qat, max_epochs=12)
    trainer.fit(module, datamodule=data)
    return Run("two", module.eval(), data, qat), trainer


def limits(graph: Any, name: str) -> tuple[float, float]:
    qparams = graph.values[name].qparams
    low, high = ((code - qparams.zero_point[0]) * qparams.scale[0] for code in qparams.code_range)
    return low, high


@pytest.mark.parametrize("kind", [Positional, ByName])
def test_what_is_trained_on_two_inputs_is_exported(kind: type[Positional]) -> None:
    from tflite_micro import runtime

    run, _ = trained(kind)
    bundle = make_bundle(subject_of(run), "two", ExportOptions())
    graph = read_tflite(bundle.files["two.tflite"])
    for name, real in zip(graph.inputs, (A, 2 * B), strict=True):
        low, high = limits(graph, name)
        assert low == pytest.approx(min(0.0, float(real[:TRAINED].min())), abs=0.05)
        assert high == pytest.approx(float(real[:TRAINED].max()), abs=0.05)
    # The figure of the device is that of the file, run by TFLite Micro itself.
    interpreter, errors = runtime.Interpreter.from_bytes(bundle.files["two.tflite"]), []
    sink: Any = graph.values[graph.outputs[0]].qparams
    for a, b, y in zip(A[TRAINED:].numpy(), 2 * B[TRAINED:].numpy(), Y[TRAINED:].numpy(), strict=True):
        for index, (name, x) in enumerate(zip(graph.inputs, (a, b), strict=True)):
            qparams: Any = graph.values[name].qparams
            interpreter.set_input(qparams.quantize(x[None]), index)
        interpreter.invoke()
        errors.append((sink.dequantize(interpreter.get_output(0)) - y) ** 2)
    figures = bundle.metrics["test"]
    assert figures["qat_int8"]["mse"] == pytest.approx(float(np.mean(errors)), rel=1e-5)
    assert figures["qat_int8"]["mse"] < 0.3 * float(Y[TRAINED:].var())
    assert set(figures) == {"float", "ptq_int8", "qat_network", "qat_int8"}
    assert "left_out" not in bundle.metrics
    assert bundle.parity is not None
    assert all(bundle.parity.engines[name].exact_share == 1 for name in ("tflm", "qat_network"))


def test_a_call_by_place_and_name_is_measured() -> None:
    quantizers = qtorch.quantizers(trained(Mixed)[0].module.net)  # type: ignore[arg-type]
    steps = [quantizers[f"{name}_quantizer"].qparams().scale[0] for name in "ab"]
    assert steps == pytest.approx([1 / 255, 10 / 255], rel=0.05)


def test_the_vectors_of_the_header_hold_all_inputs() -> None:
    run, _ = trained(Positional)
    bundle = make_bundle(subject_of(run), "two", ExportOptions())
    graph = read_tflite(bundle.files["two.tflite"])
    text = bundle.files["two_test_vectors.h"].decode()
    rows = [list(map(int, row.split(","))) for row in re.findall(r"\{([-0-9, ]+)\},", text)]
    inputs, outputs = (np.array([row for row in rows if len(row) == n], np.int8) for n in (7, 1))
    assert len(inputs) == len(outputs) == 32
    got = interpret(graph, (inputs[:, :4], inputs[:, 4:]))[graph.outputs[0]]
    assert np.array_equal(got, outputs)


@pytest.mark.parametrize("kind", ["float32", "dynamic_range"])
def test_float_formats_of_two_inputs(kind: Any) -> None:
    run, _ = trained(Positional)
    bundle = make_bundle(subject_of(run), "two", ExportOptions(format=kind))
    figures = bundle.metrics["test"]
    assert figures[kind]["mse"] == pytest.approx(figures["float"]["mse"], rel=0.2)


@pytest.mark.parametrize("options", [{}, {"equalize": True, "round_adaptively": True, "correct_biases": True}])
def test_quantizing_two_inputs_after_training(options: Any) -> None:
    run, _ = trained(ByName)
    bundle = make_bundle(subject_of(run), "two", ExportOptions(post_training=True, c=True, io="float32", **options))
    assert bundle.metrics["test"]["post_training_int8"]["mse"] < 0.3 * float(Y[TRAINED:].var())


def test_commands_take_two_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, trainer = trained(Positional)
    trainer.save_checkpoint(tmp_path / "two.ckpt", weights_only=False)
    assert export_main([str(tmp_path / "two.ckpt"), "--out", str(tmp_path / "out"), "--name", "two"]) == 0
    assert export_main(["verify", str(tmp_path / "out/two.tflite"), "--against", str(tmp_path / "two.ckpt")]) == 0
    assert export_main(["sensitivity", str(tmp_path / "two.ckpt")]) == 0
    assert json.loads((tmp_path / "out/metrics.json").read_bytes())["test"]["qat_int8"]
    assert b"two" in (tmp_path / "out/report.html").read_bytes()
    capsys.readouterr()
    assert export_main(["compare", str(tmp_path / "two.ckpt")]) == 2
    assert "a network with one input" in capsys.readouterr().err
    assert load_run(tmp_path / "two.ckpt").module.net.calibrated  # type: ignore[union-attr]


def test_firmware_fills_both_inputs(tmp_path: Path) -> None:
    run, _ = trained(Positional)
    bundle = make_bundle(subject_of(run), "two", ExportOptions(firmware=tmp_path / "firmware"))
    filled = bundle.firmware["src/tflm_model.h"].decode()
    for index in (0, 1):
        begin = f"TWO_TEST_INPUT_{index}_BEGIN"
        assert f"  two_quantize_input_{index}(physical + {begin}, codes + {begin});\n" in filled
