"""What is trained is what is exported: every way to train, crossed with every way out; and what is refused instead."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import mse_loss

import qtorch
from export.__main__ import main as export_main
from export.command_line import main as qtorch_main
from export.graph.build import integer_graph
from export.lightning_run.subject import subject_of
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.network.training_check import checked_training
from tests import trained_modules as modules
from tests.plain_lightning import Alias, Plain, PlainData
from tests.small_task import small_trainer

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*"),
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
]
EPOCHS = 12


def fitted(module: pl.LightningModule, folder: Path, **quantization: Any) -> Path:
    """A checkpoint of the module, trained."""
    torch.manual_seed(0)
    trainer = small_trainer(QuantizationAwareTraining(start=0.5, **quantization), max_epochs=EPOCHS)
    trainer.fit(module, datamodule=PlainData())
    trainer.save_checkpoint(folder / "run.ckpt", weights_only=False)
    return folder / "run.ckpt"


def device_error(model: bytes) -> float:
    """Mean squared error of a file, run by TFLite Micro itself, on the test part."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model)
    (source,), (sink,) = [[each] for each in (interpreter.get_input_details(0), interpreter.get_output_details(0))]
    scales = [
        (d["quantization_parameters"]["scales"][0], d["quantization_parameters"]["zero_points"][0])
        for d in (source, sink)
    ]
    limits = np.iinfo(source["dtype"])
    found = []
    for x in modules.TEST[0].numpy():
        codes = np.clip(np.round(x / scales[0][0]) + scales[0][1], limits.min, limits.max).astype(source["dtype"])
        interpreter.set_input(codes[None], 0)
        interpreter.invoke()
        found.append((interpreter.get_output(0).astype(np.float64) - scales[1][1]) * scales[1][0])
    return float(np.square(np.concatenate(found) - modules.TEST[1].numpy()).mean())


def untrained_error(kind: Any) -> float:
    torch.manual_seed(0)
    return modules.error_of(copy.deepcopy(kind().net))


def train(qat: qtorch.QuantizedNetwork, optimizer: torch.optim.Optimizer, called: nn.Module) -> None:
    """A loop of one's own, as many have it: first in float, then quantized."""
    x, y = modules.TRAIN
    qtorch.calibrate(qat, [x])
    with checked_training(qat, optimizer):
        for mode, steps in ((qtorch.Mode.FLOAT, 60), (qtorch.Mode.QUANTIZED, 20)):
            qtorch.calibrate(qat, [x])
            qtorch.set_mode(qat, mode)
            for step in range(steps):
                qtorch.freeze_batch_norm(qat, mode is qtorch.Mode.QUANTIZED and step >= steps // 2)
                optimizer.zero_grad()
                mse_loss(called(x), y).backward()
                optimizer.step()


def by_callback(kind: Any) -> Any:
    def train(folder: Path) -> tuple[Path, float]:
        torch.manual_seed(0)
        module = kind()
        path = fitted(module, folder)
        with qtorch.in_mode(module.net, qtorch.Mode.QUANTIZED):
            return path, modules.error_of(module.net)

    return train


def by_command(*options: str) -> Any:
    """``qtorch fit``, with a file as the documents have it."""

    def train(folder: Path) -> tuple[Path, float]:
        kind = "trained_modules.WithoutOptimizer" if options else "plain_lightning.Plain"
        (folder / "run.yaml").write_text(
            f"model: {{class_path: tests.{kind}}}\ndata: {{class_path: tests.plain_lightning.PlainData}}\n"
            f"trainer: {{max_epochs: {EPOCHS}, accelerator: cpu, logger: false, enable_progress_bar: false, "
            f"enable_model_summary: false, default_root_dir: {folder}}}\nqat: {{start: 0.5}}\n"
        )
        assert command("fit", "--config", folder / "run.yaml", *options) == 0
        (path,) = folder.rglob("*.ckpt")
        run = load_run(path)
        with qtorch.in_mode(run.module.net, qtorch.Mode.QUANTIZED):  # type: ignore[arg-type]
            return path, modules.error_of(run.module.net)  # type: ignore[arg-type]

    return train


def command(*arguments: Any) -> int:
    """The console script ``qtorch``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["qtorch", *map(str, arguments)])
        return qtorch_main()


WAYS_IN = {
    "callback": by_callback(Plain),
    "another name": by_callback(Alias),
    "optimizer made in the constructor": by_callback(modules.OptimizerInConstructor),
    "compiled": by_callback(modules.Compiled),
    "prepares itself": by_callback(modules.Prepared),
    "qtorch fit": by_command(),
    "qtorch fit, optimizer": by_command("--optimizer", "Adam", "--optimizer.lr", "0.02"),
    "qtorch fit, optimizer and schedule": by_command(
        "--optimizer=Adam", "--optimizer.lr=0.02", "--lr_scheduler=ExponentialLR", "--lr_scheduler.gamma=0.97"
    ),
}  # fmt: skip


def test_an_optimizer_made_before_the_network_was_prepared_trains_it() -> None:
    torch.manual_seed(0)
    net = Plain().net
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    qat = qtorch.prepare(net, torch.zeros(1, 4))
    train(qat, optimizer, qat)
    with qtorch.in_mode(qat, qtorch.Mode.QUANTIZED):
        exact = modules.error_of(qat)
    assert exact < 0.2 * untrained_error(Plain)
    assert device_error(write_tflite(integer_graph(qat))) == pytest.approx(exact, rel=1e-4)


@pytest.mark.usefixtures("alone")
def test_a_network_in_ddp_trains_what_is_exported() -> None:
    """Wrapped before it is prepared, wrapped again for training; its state has the wrapper's names."""
    torch.manual_seed(0)
    net = Plain().net
    qat = qtorch.prepare(nn.parallel.DistributedDataParallel(net), torch.zeros(1, 4))
    wrapped = nn.parallel.DistributedDataParallel(qat)
    train(qat, torch.optim.Adam(wrapped.parameters(), 0.02), wrapped)
    again = qtorch.prepare(Plain().net, torch.zeros(1, 4))
    again.load_state_dict(wrapped.state_dict())
    assert modules.error_of(again) == modules.error_of(qat)
    with qtorch.in_mode(again, qtorch.Mode.QUANTIZED):
        exact = modules.error_of(again)
    assert exact < 0.2 * untrained_error(Plain)
    assert device_error(write_tflite(integer_graph(again))) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("option", ["--export.post_training", "--export.format=float32"])
def test_a_module_that_prepares_itself_has_its_float_network_exported(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A float file's error is the float network's, and a calibrated one's is near it."""
    path = fitted(modules.Prepared(), tmp_path)
    assert export_main([str(path), "--out", str(tmp_path / "out"), "--name", "it", option]) == 0
    rows = (re.fullmatch(r"(\S.*\(TFLM\)) +(\d\S*)", line) for line in capsys.readouterr().out.splitlines())
    lines = dict(row.groups() for row in rows if row is not None)
    figures = {name.strip(): float(figure) for name, figure in lines.items()}
    network = subject_of(load_run(path)).networks.float_network()
    (named,) = {"int8, as chosen (TFLM)", "float32 model (TFLM)"} & set(figures)
    assert figures[named] == pytest.approx(modules.error_of(network), rel=0.05)
    assert modules.error_of(network) < 0.3 * untrained_error(Plain)


@pytest.mark.parametrize("way", WAYS_IN)
def test_every_way_in_and_out_is_one_network(way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file in TFLite Micro, the table, ``test`` and a run that goes on: all have the trained network's error."""
    path, exact = WAYS_IN[way](tmp_path)
    assert exact < 0.3 * untrained_error(Plain)
    # From the checkpoint, as a program of its own would.
    assert export_main([str(path), "--out", str(tmp_path / "out"), "--name", "it"]) == 0
    printed = capsys.readouterr().out
    measured = device_error((tmp_path / "out" / "it.tflite").read_bytes())
    assert measured == pytest.approx(exact, rel=1e-4)
    (line,) = [line for line in printed.splitlines() if line.startswith("int8, QAT (TFLM)")]
    assert float(line.split()[-1]) == pytest.approx(measured, rel=1e-3)
    # By a new trainer and a new callback, which know nothing.
    run = load_run(path)
    fresh = type(run.module)()
    trainer = small_trainer(QuantizationAwareTraining())
    (figures,) = trainer.test(fresh, datamodule=PlainData(), ckpt_path=path, verbose=False)
    with qtorch.in_mode(run.module.net, qtorch.Mode.QUANTIZED):  # type: ignore[arg-type]
        assert figures["mse"] == pytest.approx(modules.error_of(run.module.net), rel=1e-5)  # type: ignore[arg-type]
    # Going on from there: no worse than it was.
    again = type(run.module)()
    again.configure_optimizers = lambda: torch.optim.Adam(again.parameters(), 0.002)  # type: ignore[method-assign]
    if "schedule" not in way:
        longer = small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=EPOCHS + 1)
        longer.fit(again, datamodule=PlainData(), ckpt_path=path)
        assert modules.error_of(again.net) < 2 * exact  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [modules.Parts, modules.KeptMethod])
def test_steps_that_pass_the_network_by_are_refused_in_the_first_batch(kind: Any) -> None:
    with pytest.raises(BadConfiguration, match=r"training_step.*call of self\.net.*none in the first batch"):
        small_trainer(QuantizationAwareTraining()).fit(kind(), datamodule=PlainData())


class CopyAfterFirst(Plain):
    """Calls the network in the first batch, and a copy from then on."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 0:
            self.__dict__["copied"] = copy.deepcopy(self.net)
            return super().training_step(batch, batch_idx)
        return mse_loss(self.copied(batch[0]), batch[1])


class WithoutGradients(Plain):
    """Looks at the network, and computes with its weights."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        with torch.no_grad():
            self.net(batch[0])
        first, norm, last = self.net[0], self.net.get_submodule("1"), self.net[3]
        hidden = norm(nn.functional.linear(batch[0], first.weight, first.bias)).relu()
        return mse_loss(nn.functional.linear(hidden, last.weight, last.bias), batch[1])


class Labelled(Plain):
    """What it names is not what its network reads."""

    def network_inputs(self, batch: Any) -> torch.Tensor:
        return batch[1]


class Replaced(Plain):
    """Puts another network in the place of the one that was prepared."""

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.net = Plain().net


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (CopyAfterFirst, r"calls of self\.net, got none in 4 batches"),
        (WithoutGradients, "none in the first batch"),
        (Labelled, r"what self\.net was called with, \[\(32, 4\)\].*network_inputs"),
        (Replaced, r"Replaced\.net: expected the network that was prepared"),
    ],
)
def test_what_would_be_found_too_late_is_refused_early(kind: Any, words: str) -> None:
    trainer = small_trainer(QuantizationAwareTraining(start=2), max_epochs=4)
    with pytest.raises(BadConfiguration, match=words):
        trainer.fit(kind(), datamodule=PlainData())
    assert trainer.current_epoch <= 2


class FirstOfAnother(Plain):
    """What it names has the shape, and not the values, of what its network reads."""

    def network_inputs(self, batch: Any) -> torch.Tensor:
        first: torch.Tensor = batch[0]
        return first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net((x - 0.5) * 4)


def test_ranges_of_another_tensor_are_announced() -> None:
    trainer = small_trainer(QuantizationAwareTraining(), max_epochs=2)
    with pytest.warns(UserWarning, match=r"called with other values than .*network_inputs"):
        trainer.fit(FirstOfAnother(), datamodule=PlainData())


def test_one_callback_serves_one_run_after_another() -> None:
    qat = QuantizationAwareTraining(start=1)
    for _ in range(2):
        module = Plain()
        small_trainer(qat, max_epochs=3).fit(module, datamodule=PlainData())
        assert module.net.calibrated
        assert sorted(qat.losses["training"]) == [0, 1, 2]


def test_a_loop_that_outgrows_its_ranges_is_told() -> None:
    """Calibrated before it was trained, the output's grid ends where the untrained network's outputs did."""
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Linear(4, 1), torch.zeros(1, 4))
    qtorch.calibrate(qat, [0.01 * modules.TRAIN[0]])
    optimizer = torch.optim.SGD(qat.parameters(), 0.01)

    def loop() -> None:
        qtorch.set_mode(qat, qtorch.Mode.FLOAT)
        with checked_training(qat, optimizer):
            mse_loss(qat(modules.TRAIN[0]), modules.TRAIN[1]).backward()
            optimizer.step()

    with pytest.warns(UserWarning, match=r"saturated range.*Mode\.FLOAT first, then calibrate"):
        loop()


class Elsewhere(Plain):
    """Its optimizer holds nothing of the network."""

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([nn.Parameter(torch.zeros(1))])


class Still(Plain):
    """Its steps move nothing."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.0)


@pytest.mark.parametrize(("kind", "words"), [(Elsewhere, "none of its 6"), (Still, "all 6 parameters as they were")])
def test_training_that_moves_nothing_is_refused(kind: Any, words: str) -> None:
    with pytest.raises(BadConfiguration, match=words):
        small_trainer(QuantizationAwareTraining(), max_epochs=2).fit(kind(), datamodule=PlainData())


def test_a_loop_that_moves_nothing_is_refused() -> None:
    net = nn.Linear(4, 1)
    qat = qtorch.prepare(net, torch.zeros(1, 4))
    with (
        pytest.raises(BadConfiguration, match="none of its 2"),
        checked_training(qat, torch.optim.SGD([nn.Parameter(torch.zeros(1))])),
    ):
        pass
    with (
        pytest.raises(BadConfiguration, match="as they were"),
        checked_training(qat, torch.optim.SGD(net.parameters(), 0.1)),
    ):
        pass


def test_learned_scales_are_trained_by_an_optimizer_from_before() -> None:
    torch.manual_seed(0)
    net = Plain().net
    first, second = torch.optim.Adam(net[0].parameters(), 0.01), torch.optim.Adam(net[3].parameters(), 0.01)
    qat = qtorch.prepare(net, torch.zeros(1, 4), qtorch.QuantizationConfig(scales="lsq"))
    qtorch.calibrate(qat, [modules.TRAIN[0]])
    qtorch.set_mode(qat, qtorch.Mode.QUANTIZED)
    qtorch.freeze_batch_norm(qat)
    before = {name: p.detach().clone() for name, p in qat.named_parameters() if name.endswith("scale")}
    with checked_training(qat, first, second):
        mse_loss(qat(modules.TRAIN[0]), modules.TRAIN[1]).backward()
        first.step()
        second.step()
    assert len(before) == 5
    assert all(not torch.equal(qat.get_parameter(name), old) for name, old in before.items())
    # Each beside its own layer's weights.
    held = [{id(p) for group in each.param_groups for p in group["params"]} for each in (first, second)]
    for layer, mine in (("0", held[0]), ("3", held[1])):
        assert {
            id(qat.get_parameter(f"{layer}.{name}")) for name in ("log_weight_scale", "quantizer.log_scale")
        } <= mine


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_checkpoint_is_one_of_quantized_training(tmp_path: Path, mode: str) -> None:
    """With ``max`` every float epoch but the first is worse than none: float training ends with the highest bar."""
    best = ModelCheckpoint(tmp_path, monitor="val_loss", mode=mode, filename="best")
    small_trainer(QuantizationAwareTraining(start=0.5), best, enable_checkpointing=True, max_epochs=6).fit(
        Plain(), datamodule=PlainData()
    )
    assert load_run(Path(best.best_model_path)).qat.began == 3
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["best.ckpt"]


def test_a_second_callback_with_other_options_is_refused() -> None:
    module = Plain()
    small_trainer(QuantizationAwareTraining(weight_bits=4), max_epochs=2).fit(module, datamodule=PlainData())
    with pytest.raises(BadConfiguration, match=r"qat\.weight_bits: expected 4, as the network has it, got 8"):
        small_trainer(QuantizationAwareTraining(weight_bits=8), max_epochs=2).fit(module, datamodule=PlainData())
    second = QuantizationAwareTraining()
    small_trainer(second, max_epochs=2).fit(module, datamodule=PlainData())
    assert second.config.weight_bits == 4
