"""Options that nobody takes end a command in exit code 2 and words; a defect keeps its traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from export.__main__ import main as export_main
from export.graph.build import integer_graph
from export.pipeline import main
from export.rows import sample_graph
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.cli import run_command, subcommand
from qtorch.lightning.command_line.refusals import refusal_of, require_options
from qtorch.ops import ROWS
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine
from tests.small_task import SmallData, SmallModule, small_trainer

# Handed in here, while the test run has arguments of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.*LightningCLI's args parameter.*:UserWarning")

ROOT = Path(__file__).parents[1]
QUICK = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=2", "--trainer.enable_progress_bar=false"]


def recipe(arguments: Sequence[str], out: Path) -> int:
    return main(Sine, SineData, ROOT / "recipes" / "sine_qat" / "config.yaml", [*QUICK, *arguments, f"--out={out}"])


def fit(arguments: Sequence[str], out: Path) -> int:
    given = ["fit", *QUICK, f"--trainer.default_root_dir={out}", *arguments]
    return run_command(lambda: subcommand(SmallModule, SmallData, None, given))


WAYS = pytest.mark.parametrize("way", [recipe, fit])


def refused(way: Callable[[Sequence[str], Path], int], arguments: Sequence[str], out: Path) -> None:
    """Exit code 2 either way in which a command ends."""
    try:
        code: Any = way(arguments, out)
    except SystemExit as left:
        code = left.code
    assert code == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--seed_everything=-5", "--seed_everything"),
        ("--seed_everything=4294967296", "--seed_everything"),
        ("--threads=99999999", "--threads"),
        ("--threads=0", "--threads"),
        ("--trainer.devices=0", "devices"),
        ("--trainer.devices=-7", "devices"),
        ("--trainer.devices=x", "devices"),
        ("--trainer.accelerator=foo", "accelerator"),
        ("--trainer.strategy=foo", "strategy"),
        ("--trainer.num_nodes=0", "num_nodes"),
        ("--trainer.limit_train_batches=0", "limit_train_batches"),
        ("--trainer.limit_train_batches=0.0", "limit_train_batches"),
        ("--trainer.limit_train_batches=-1", "limit_train_batches"),
        ("--trainer.accumulate_grad_batches=0", "accumulate_grad_batches"),
        ("--trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch"),
        ("--trainer.max_epochs=-5", "max_epochs"),
        ("--trainer.max_epochs=x", "max_epochs"),
        ("--trainer.max_time=x", "duration"),
        ("--trainer.gradient_clip_algorithm=foo", "gradient_clip_algorithm"),
        ("--trainer.precision=7", "precision"),
        ("--config=/no/such/file.yaml", "/no/such/file.yaml"),
    ],
)
def test_an_impossible_option(options: str, named: str, tmp_path: Path, capsys: Any) -> None:
    # One of the ways each, because to make a parser takes a second; they share what looks at options.
    refused((recipe, fit)[len(options) % 2], [options], tmp_path / "out")
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out" / "metrics.json").exists()


@WAYS
@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_an_accelerator_that_is_not_there(
    way: Callable[[Sequence[str], Path], int], tmp_path: Path, capsys: Any
) -> None:
    refused(way, ["--trainer.accelerator=gpu"], tmp_path / "out")
    assert "gpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        b"trainer: 5\n",
        b"trainer: null\n",
        b"trainer: [1, 2\n",
        b"trainer:\n  5: 2\n",
        b"1: 2\n",
        b"- 1\n",
        b"seed_everything: -3\n",
        b"trainer:\n  max_epochs: 2 # \xff\xfe\n",
        b"trainer:\n  max_epochs: !!python/object:os.system x\n",
        b"qat:\n  layers:\n    1: {skip: true}\n",
        b"\x00\x01",
    ],
)
def test_an_impossible_file_of_options(content: bytes, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    refused((recipe, fit)[len(content) % 2], [f"--config={tmp_path / 'run.yaml'}"], tmp_path / "out")
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "test", "validate"])
def test_the_best_checkpoint_of_nobody(command: str, tmp_path: Path, capsys: Any) -> None:
    given = [command, f"--trainer.default_root_dir={tmp_path}", "--trainer.logger=false", "--ckpt_path=best"]
    given += ["--trainer.enable_checkpointing=false"]
    assert run_command(lambda: subcommand(SmallModule, SmallData, None, given)) == 2
    assert "best" in capsys.readouterr().err


def test_seeds_that_are_none_pass() -> None:
    for seed in (True, False, None, 0, 2**32 - 1):
        require_options({"seed_everything": seed, "threads": 1})


def test_a_trainer_in_a_program_needs_batches_too() -> None:
    trainer = small_trainer(QuantizationAwareTraining(), limit_train_batches=0)
    with pytest.raises(BadConfiguration, match="limit_train_batches"):
        trainer.fit(SmallModule(), datamodule=SmallData())


class _ByHand(SmallModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()


class _LeavesOut(SmallModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return None if batch_idx % 2 else super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:.*returned .None.*:UserWarning")
@pytest.mark.parametrize("module", [_ByHand, _LeavesOut])
def test_steps_without_a_loss_train_and_export(module: type[SmallModule]) -> None:
    trained, data = module(), SmallData()
    before = _loss(trained, data)
    trainer = small_trainer(QuantizationAwareTraining(start=3), max_epochs=6)
    trainer.fit(trained, datamodule=data)
    assert _loss(trained, data) < before / 2
    assert write_tflite(integer_graph(trained.net.eval()))  # type: ignore[arg-type]


def _loss(module: pl.LightningModule, data: SmallData) -> float:
    x, y = data.rows.tensors
    with torch.no_grad():
        found: Tensor = nn.functional.mse_loss(module.eval()(x), y)
    return float(found)


def test_a_defect_keeps_its_traceback() -> None:
    def divide() -> None:
        print(1 // 0)

    for error in (ZeroDivisionError, TypeError, KeyError, ValueError):

        def command(error: type[Exception] = error) -> None:
            raise error("of our own")

        with pytest.raises(error):
            run_command(command)
    with pytest.raises(ZeroDivisionError):
        run_command(divide)


def test_what_a_module_of_a_user_raises_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys.py").write_text(
        "import torch\n"
        "def optimizer(): torch.optim.SGD([torch.zeros(1)], lr=-1.0)\n"
        "def trainer():\n"
        "    from pytorch_lightning import Trainer\n"
        "    Trainer(max_time='x')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import somebodys  # type: ignore[import-not-found]

    with pytest.raises(ValueError, match="learning rate"):
        run_command(somebodys.optimizer)
    assert run_command(somebodys.trainer) == 2


def test_words_name_the_caller_of_lightning() -> None:
    refusal = refusal_of(MisconfigurationException("no such thing."))
    assert refusal is not None
    assert "got no such thing. Remedy" in str(refusal)
    assert refusal_of(RuntimeError("of our own")) is None


@pytest.mark.parametrize("arguments", [["summary", "MODEL"]])
def test_a_reader_that_has_gone(arguments: list[str], tmp_path: Path, network: Any) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(write_tflite(integer_graph(network)))
    given = [str(model) if argument == "MODEL" else argument for argument in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        found = subprocess.run(
            [sys.executable, "-m", "export", *given], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    finally:
        os.close(writing)
    assert found.returncode == 141
    assert "Traceback" not in found.stderr
    assert "BrokenPipe" not in found.stderr


def test_options_of_compile_are_called_what_it_calls_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = ROWS["fully_connected"]
    (tmp_path / "m.tflite").write_bytes(write_tflite(sample_graph(row, next(iter(row.samples())))))
    few = ["--target", "uno", "--flash", "9", "--samples", "1"]
    assert export_main(["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out"), *few]) == 2
    said = capsys.readouterr().err
    assert "error: --flash: expected at most 9 bytes" in said
    assert "export." not in said
