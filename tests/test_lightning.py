"""The callback beside everything else that a Lightning run may have."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, StochasticWeightAveraging
from torch import nn

import qtorch
from export.bundle.make import make_bundle
from export.graph.build import integer_graph
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.memory_loader import MemoryLoader, Share
from qtorch.lightning.phases import Phases
from tests.small_task import SmallData, SmallModule, small_trainer
from tests.warm_python import warm_python

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*"),
]


class Modes(pl.Callback):
    """What every epoch trained."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool, bool]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            quantizer = next(iter(qtorch.quantizers(pl_module.net).values()))
            frozen = any(m.norm_frozen for m in pl_module.net.modules() if isinstance(m, qtorch.QuantizedOp))
            self.seen.append((quantizer.mode.value, quantizer.observing, frozen))


def fit(*callbacks: pl.Callback, **options: Any) -> tuple[SmallModule, pl.Trainer]:
    pl.seed_everything(0, verbose=False)
    module, trainer = SmallModule(), small_trainer(*callbacks, **options)
    trainer.fit(module, datamodule=SmallData())
    return module, trainer


def require_exact(module: SmallModule) -> None:
    graph = integer_graph(module.net.eval())  # type: ignore[arg-type]
    parity(graph, write_tflite(graph), corner_codes(graph, random=300), module.net)  # type: ignore[arg-type]


def test_phases_by_epoch() -> None:
    modes = Modes()
    module, trainer = fit(
        QuantizationAwareTraining(start=2, freeze_observers=4, freeze_batch_norm=5, observer="moving_average"),
        modes,
    )
    assert modes.seen == [
        ("float", False, False), ("float", False, False), ("quantized", True, False), ("quantized", True, False),
        ("quantized", False, False), ("quantized", False, True), ("quantized", False, True), ("quantized", False, True),
    ]  # fmt: skip
    assert trainer.logged_metrics["qat_mode"] == 1
    require_exact(module)


def test_shares_of_the_run() -> None:
    epochs = Phases(0.5, 0.75, 0.8).epochs(40)
    assert (epochs.start, epochs.freeze_observers, epochs.freeze_batch_norm) == (20, 30, 32)
    assert Phases(1 / 3).epochs(1).start == 0
    assert Phases(0, freeze_batch_norm=None).epochs(-1).start == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": 1.5}, "qat.start"),
        ({"start": -1}, "qat.start"),
        ({"start": 0.8, "freeze_observers": 0.5}, "qat.freeze_observers"),
        ({"start": 6, "freeze_batch_norm": 3}, "qat.freeze_batch_norm"),
        ({"calibration_batches": 0}, "calibration_batches"),
        ({"observer": "middle"}, "observer"),
        ({"observer": "percentile:20"}, "percentile"),
        ({"activations": "int3"}, "activations"),
        ({"weight_bits": 3}, "weight_bits"),
        ({"scales": "guessed"}, "scales"),
        ({"layers": {"a*": {"bits": 4}}}, "layers"),
    ],
)
def test_bad_configuration_is_refused_at_once(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(BadConfiguration, match=words) as caught:
        QuantizationAwareTraining(**arguments)
    assert "Remedy" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ({"start": 8}, {}, "before the last"),
        ({"start": 1.0, "freeze_batch_norm": None}, {}, "before the last"),
        ({"start": 0.5, "freeze_observers": 1, "freeze_batch_norm": None}, {}, "freeze_observers"),
        (
            {"start": 0.5},
            {"max_epochs": -1, "max_time": "00:00:01:00"},
            "qat.start: .*neither trainer.max_epochs nor max_steps of batches that can be counted",
        ),
        ({"start": 2}, {"max_epochs": -1}, "qat.freeze_batch_norm: .*got share 0.8"),
        ({"start": 5}, {"max_steps": 3}, "before the last of 1, "),
    ],
)
def test_contradicting_epochs_are_refused_before_training(
    arguments: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadConfiguration, match=words):
        fit(QuantizationAwareTraining(**arguments), **options)


def test_an_early_stop_of_float_training_begins_quantized_training() -> None:
    modes = Modes()
    # Nothing can improve by a million, so every phase stops after its first epochs.
    stopping = EarlyStopping("val_loss", patience=1, min_delta=1e6)
    qat = QuantizationAwareTraining(start=6, freeze_batch_norm=None)
    module, _ = fit(qat, modes, stopping)
    assert [mode for mode, _, _ in modes.seen] == ["float", "float", "quantized", "quantized"]
    assert qat.began == 2
    require_exact(module)


class Restless(SmallModule):
    """Steps of its own in every batch, or in one of several, which no trainer can foresee."""

    def __init__(self, steps: int = 3, every: int = 1) -> None:
        super().__init__()
        self.automatic_optimization, self.steps, self.every = False, steps, every

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        for _ in range(self.steps if batch_idx % self.every == 0 else 0):
            optimizer.zero_grad()
            self.manual_backward(nn.functional.mse_loss(self.net(batch[0]), batch[1]))
            optimizer.step()


def test_a_run_that_ends_in_float_is_calibrated() -> None:
    pl.seed_everything(0, verbose=False)
    module, trainer = Restless(), small_trainer(QuantizationAwareTraining(start=0.5), max_epochs=-1, max_steps=15)
    with pytest.warns(UserWarning, match="calibrated, no more"):
        trainer.fit(module, datamodule=SmallData())
    require_exact(module)


@pytest.mark.parametrize("epochs", [-1, 100])
def test_shares_are_of_the_epochs_that_a_limit_in_steps_leaves(epochs: int) -> None:
    """Six batches an epoch, two of them a step: 11 steps end in the fourth."""
    modes = Modes()
    qat = QuantizationAwareTraining(start=0.5, freeze_batch_norm=0.75)
    module, trainer = fit(qat, modes, max_epochs=epochs, max_steps=11, accumulate_grad_batches=2)
    assert modes.seen == [
        ("float", False, False), ("float", False, False), ("quantized", False, False), ("quantized", False, True),
    ]  # fmt: skip
    assert trainer.global_step == 11
    require_exact(module)


class Elsewhere(SmallModule):
    """Layers under other names than ``net``."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        del self.net
        for name in names:
            setattr(self, name, nn.Linear(2, 2))
        self.loss = nn.MSELoss()


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (("model",), r"add self\.net = self\.model to the module's constructor"),
        (("encoder", "decoder"), r"put encoder, decoder into one nn\.Module, and assign it to self\.net"),
        ((), r"assign the network to self\.net"),
    ],
)
def test_a_module_without_a_net_is_told_what_to_write(names: tuple[str, ...], remedy: str) -> None:
    trainer = small_trainer(QuantizationAwareTraining())
    with pytest.raises(BadConfiguration, match=f"Elsewhere: expected the network in attribute 'net'.*{remedy}"):
        trainer.fit(Elsewhere(*names), datamodule=SmallData())


def test_gradient_accumulation_and_clipping() -> None:
    module, trainer = fit(
        QuantizationAwareTraining(start=3), accumulate_grad_batches=3, gradient_clip_val=0.5, max_epochs=6
    )
    assert trainer.global_step == 12
    require_exact(module)


@pytest.mark.parametrize(
    "averaging",
    [lambda: StochasticWeightAveraging(1e-3, swa_epoch_start=5), lambda: EMAWeightAveraging(decay=0.9)],
    ids=["SWA", "EMA"],
)
@pytest.mark.parametrize("scales", ["measured", "lsq+"])
def test_averaged_weights_export(averaging: Any, scales: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Of what is trained before batch norms are frozen, the average has others.
        module, trainer = fit(QuantizationAwareTraining(start=3, freeze_batch_norm=5, scales=scales), averaging())
    require_exact(module)
    (figures,) = trainer.test(module, datamodule=SmallData(), verbose=False)
    assert figures["error"] < 0.1


@pytest.mark.parametrize("frozen_from", [15, None])
def test_averaged_weights_are_as_good_as_those_that_were_averaged(frozen_from: int | None) -> None:
    """Batch norms that are frozen keep their statistics, which SWA resets, and ranges stay those of training."""
    errors = []
    for others in ([], [StochasticWeightAveraging(1e-3, swa_epoch_start=20)]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module, trainer = fit(
                QuantizationAwareTraining(start=3, freeze_batch_norm=frozen_from), *others, max_epochs=24
            )
        (figures,) = trainer.test(module, datamodule=SmallData(), verbose=False)
        errors.append(figures["error"])
    assert errors[1] < errors[0] + 0.01


def test_averaging_must_come_second() -> None:
    with pytest.raises(BadConfiguration, match="EMAWeightAveraging first"):
        fit(EMAWeightAveraging(decay=0.9), QuantizationAwareTraining())


def test_best_checkpoint_predicts_tests_and_exports(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="val_loss", every_n_epochs=1)
    fit(QuantizationAwareTraining(start=2), best, enable_checkpointing=True)
    run = load_run(Path(best.best_model_path))
    assert isinstance(run.module, SmallModule)
    qat = QuantizationAwareTraining(start=2)
    fresh, other = SmallModule(), small_trainer(qat)
    predictions = other.predict(fresh, datamodule=SmallData(), ckpt_path=best.best_model_path)
    qtorch.set_mode(run.module.net, run.qat.mode)
    with torch.no_grad():
        expected = torch.cat([run.module.net.eval()(x) for x, _ in SmallData().predict_dataloader()])
    assert torch.equal(torch.cat(predictions), expected)  # type: ignore[arg-type]
    bundle = make_bundle(subject_of(run), "small", ExportOptions())
    figures = bundle.metrics["test"]
    assert set(figures) == {"float", "ptq_int8", "qat_network", "qat_int8"}
    assert figures["qat_int8"]["error"] == pytest.approx(figures["qat_network"]["error"], rel=1e-3)
    assert figures["qat_int8"]["error"] != figures["float"]["error"]


def test_a_checkpoint_of_float_training_exports_what_was_trained(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, every_n_epochs=1, save_top_k=-1)
    fit(QuantizationAwareTraining(start=6), keep, enable_checkpointing=True)
    run = load_run(next(tmp_path.glob("epoch=3*.ckpt")))
    assert run.qat.began is None
    with pytest.raises(BadConfiguration, match="calibrated range"):
        make_bundle(subject_of(run), "small", ExportOptions())
    x = SmallData().rows.tensors[0]
    with torch.no_grad():
        expected = run.module.net.eval()(x)
        assert torch.allclose(subject_of(run).networks.float_network()(x), expected, atol=1e-5)
    for options in (ExportOptions(format="float32"), ExportOptions(post_training=True)):
        figures = make_bundle(subject_of(run), "small", options).metrics["test"]
        assert figures["float"]["error"] == pytest.approx(
            float((expected - SmallData().rows.tensors[1]).square().mean())
        )


def test_the_memory_loader_serves_every_row_once_and_resumes() -> None:
    x = torch.arange(10.0)[:, None]
    loader = MemoryLoader((x, x), batch_size=4, shuffle=True, seed=5)
    epoch = [batch[0] for batch in loader]
    assert sorted(torch.cat(epoch).flatten().tolist()) == x.flatten().tolist()
    assert len(loader) == len(epoch) == 3
    loader.sampler.set_epoch(1)
    second = [batch[0] for batch in loader]
    assert not torch.equal(torch.cat(epoch), torch.cat(second))
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    other = MemoryLoader((x, x), batch_size=4, shuffle=True, seed=0)
    other.load_state_dict(state)
    other.sampler.set_epoch(1)
    assert torch.equal(torch.cat([b[0] for b in other]), torch.cat(second[1:]))
    assert len(list(other)) == 3


def test_processes_share_the_batches_of_one() -> None:
    x = torch.arange(11.0)[:, None]
    whole = list(MemoryLoader((x,), batch_size=4, shuffle=True, seed=2))
    parts = [list(MemoryLoader((x,), 4, shuffle=True, seed=2, share=Share(rank, 2))) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == 2
    for batch, first, second in zip(whole, *parts, strict=False):
        assert torch.equal(batch, torch.cat([first, second]))


def test_the_console_script_takes_classes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.command_line import main

    config = tmp_path / "run.yaml"
    config.write_text(
        f"""
seed_everything: 1
trainer: {{max_epochs: 3, accelerator: cpu, enable_progress_bar: false, default_root_dir: {tmp_path},
  logger: {{class_path: pytorch_lightning.loggers.CSVLogger, init_args: {{save_dir: {tmp_path}, name: log}}}},
  callbacks: [{{class_path: pytorch_lightning.callbacks.EMAWeightAveraging, init_args: {{decay: 0.5}}}}]}}
model: {{class_path: tests.small_task.SmallModule, init_args: {{width: 4}}}}
data: {{class_path: tests.small_task.SmallData, init_args: {{rows: 32}}}}
optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.01}}}}
lr_scheduler: {{class_path: torch.optim.lr_scheduler.ExponentialLR, init_args: {{gamma: 0.5}}}}
threads: 1
qat: {{start: 1, freeze_batch_norm: null, layers: {{"5": {{weight_bits: 8, observer: percentile:99.5}}}}}}
"""
    )
    monkeypatch.setattr(sys, "argv", ["qtorch", "fit", "--config", str(config)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main() == 0
    (log,) = tmp_path.rglob("metrics.csv")
    assert "qat_mode" in log.read_text().splitlines()[0]
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    state = torch.load(checkpoint, weights_only=True)
    assert "momentum_buffer" in str(state["optimizer_states"]) or state["optimizer_states"][0]["param_groups"][0]["lr"]
    assert load_run(checkpoint).module.hparams["width"] == 4


def test_print_config_and_both_loggers(tmp_path: Path) -> None:
    def fit(*arguments: str) -> str:
        done = warm_python(["-W", "ignore", "-m", "recipes.fuel_qat", "fit", *arguments], Path(__file__).parents[1])
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = fit("--print_config")
    for line in ("max_epochs: 120", "observer: minmax", "qat_learning_rate: 0.001", "csv: null", "threads: 1"):
        assert line in printed
    (tmp_path / "printed.yaml").write_text(printed)
    loggers = [
        {
            "class_path": f"pytorch_lightning.loggers.{kind}Logger",
            "init_args": {"save_dir": str(tmp_path), "name": kind},
        }
        for kind in ("TensorBoard", "CSV")
    ]
    arguments = ["--config", str(tmp_path / "printed.yaml"), "--trainer.max_epochs", "3", "--optimizer", "SGD"]
    arguments += ["--optimizer.lr", "0.001", "--trainer.logger", json.dumps(loggers)]
    fit(*arguments)
    assert list(tmp_path.rglob("events.out.tfevents*"))
    (log,) = tmp_path.rglob("metrics.csv")
    header, *rows = log.read_text().splitlines()
    column = header.split(",").index("qat_mode")
    assert {row.split(",")[column] for row in rows} - {""} == {"0.0", "1.0"}
