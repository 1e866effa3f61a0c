"""What was trained is never lost to an export, and what an export must refuse is refused before training."""

from __future__ import annotations

import copy
import json
import shlex
import shutil
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import fx, nn

from export.__main__ import main as export_main
from export.bundle.dry_run import dry_run
from export.figures.subject import Networks
from export.graph.build import integer_graph
from export.lightning_run.subject import subject_of
from export.options import ExportOptions
from export.pipeline import main
from export.tflite.model_file import model_file
from qtorch.errors import BadConfiguration, ParityError
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import Run, load_run
from recipes.digits_qat.data import DigitsData
from recipes.digits_qat.model import Digits
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine
from tests.conftest import FUEL_CONFIG
from tests.small_task import SmallData, SmallModule

pytestmark = [
    pytest.mark.tflm,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:saturated range", "ignore:.*does not have many workers.*"),
]

RECIPES = FUEL_CONFIG.parents[1]


def sine(out: Path, *arguments: object) -> int:
    quick = ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "4", "--out", str(out)]
    return main(Sine, SineData, RECIPES / "sine_qat" / "config.yaml", [*quick, *map(str, arguments)])


def kept_by(said: str) -> tuple[Path, list[str]]:
    """The checkpoint that a message names, and the arguments of the command below it."""
    line, command = next((line, command) for line, command in pairwise(said.split("\n")) if "is kept in" in line)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "export"]
    return Path(line.split("is kept in ")[1].split(";")[0]), words[3:]


@pytest.fixture(scope="module")
def sine_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sine") / "out"
    assert sine(out) == 0
    return out


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    return fail


BAD = BadConfiguration(where="board", expected="room", got="none", remedy="buy one")


@pytest.mark.parametrize(
    ("error", "code"),
    [(BAD, 2), (ParityError("differs"), 1), (RuntimeError("gcc"), None), (KeyboardInterrupt(), None)],
    ids=lambda value: type(value).__name__,
)
def test_a_run_keeps_its_checkpoint_whatever_the_export_says(
    sine_out: Path, tmp_path: Path, error: BaseException, code: int | None, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "some out"
    with monkeypatch.context() as patched:
        patched.setattr("export.lightning_run.exported_run.make_bundle", failing(error))
        if code is None:
            with pytest.raises(type(error)):
                sine(out)
        else:
            assert sine(out) == code
    checkpoint, command = kept_by(capsys.readouterr().err)
    assert [*out.iterdir()] == [checkpoint] == [out / "sine.ckpt"]
    assert checkpoint.read_bytes() == (sine_out / "sine.ckpt").read_bytes()
    if code == 2:
        assert export_main(command) == 0
        assert (out / "sine.tflite").read_bytes() == (sine_out / "sine.tflite").read_bytes()
        assert "sine.ckpt" in json.loads((out / "sine_manifest.json").read_text())["files"]


def test_a_whole_bundle_stays_whole_beside_what_could_not_be_exported(
    sine_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(sine_out, out)
    with monkeypatch.context() as patched:
        patched.setattr("export.lightning_run.exported_run.make_bundle", failing(BAD))
        assert sine(out, "--seed_everything", 1) == 2
    checkpoint, _ = kept_by(capsys.readouterr().err)
    assert export_main(["verify", str(out / "sine.tflite"), "--against", str(out / "sine.ckpt")]) == 0
    assert checkpoint.parent == out
    assert checkpoint.name not in {path.name for path in sine_out.iterdir()}
    assert sine(out, "--seed_everything", 1) == 0
    assert {path.name for path in out.iterdir()} == {path.name for path in (*sine_out.iterdir(), checkpoint)}


def test_where_the_folder_can_not_be_written_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Vandal(pl.Callback):
        def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            (tmp_path / "out").touch()

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("tests.test_kept_training.Vandal", Vandal, raising=False)
    monkeypatch.setattr("export.lightning_run.exported_run.make_bundle", failing(BAD))
    assert sine(tmp_path / "out", "--trainer.callbacks+", "tests.test_kept_training.Vandal") == 2
    checkpoint, _ = kept_by(capsys.readouterr().err)
    assert checkpoint.is_relative_to(tmp_path / "elsewhere")
    assert load_run(checkpoint).task == "sine"


@pytest.mark.parametrize("epoch", [1, 3])
def test_interrupted_training_keeps_what_there_is(
    tmp_path: Path, epoch: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float training, and in quantized training."""
    weights = {}

    class Impatient(pl.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if (trainer.current_epoch, batch_idx) == (epoch, 2):
                weights.update({name: p.detach().clone() for name, p in pl_module.net.named_parameters()})
                raise KeyboardInterrupt

    monkeypatch.setattr("tests.test_kept_training.Impatient", Impatient, raising=False)
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        sine(out, "--trainer.callbacks+", "tests.test_kept_training.Impatient")
    checkpoint, command = kept_by(capsys.readouterr().err)
    assert [*out.iterdir()] == [checkpoint]
    for name, parameter in load_run(checkpoint).module.net.named_parameters():  # type: ignore[union-attr]
        assert torch.equal(parameter, weights[name]), name
    assert ("--export.post_training" in command) == (epoch == 1)
    assert export_main(command) == 0
    assert (out / "sine.tflite").exists()


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Trainer, "fit", failing(AssertionError("trained")))


def test_a_board_that_is_too_small_is_known_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_training(monkeypatch)
    arguments = ["--export.c", "true", "--export.target", "uno", "--out", str(tmp_path / "out")]
    assert main(Digits, DigitsData, RECIPES / "digits_qat" / "config.yaml", arguments) == 2
    said = capsys.readouterr().err
    assert "error: export.target uno: expected at most 2,048 bytes of RAM" in said
    assert "2,192 at conv_2d" in said
    assert list(tmp_path.iterdir()) == []


def run_of(net: nn.Module, *shape: int, **quantization: Any) -> Run:
    module = SmallModule()
    module.net, module.example_input_array = net, torch.zeros(1, *shape)
    return Run("small", module, SmallData(), QuantizationAwareTraining(**quantization))


def networks_of(run: Run) -> Networks:
    return subject_of(run).networks


def test_sums_that_overflow_are_known_before_training() -> None:
    """A sum of so many products of which each can be 127 * 255 leaves 32 bits with any weights."""
    with pytest.raises(BadConfiguration, match="sums fit their integers"):
        dry_run(networks_of(run_of(nn.Sequential(nn.Linear(600_000, 1)), 600_000)), None, "small", ExportOptions())


def test_first_weights_that_overflow_are_no_sign_of_others() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        net[2].weight.fill_(1e-12)  # type: ignore[union-attr]
        net[2].bias.fill_(50.0)  # type: ignore[union-attr]
    run = run_of(net, 4)
    qat = copy.deepcopy(net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.random.get_rng_state()
    dry_run(networks_of(run), None, "small", ExportOptions())
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert type(qat) is type(run.module.net)


def test_ends_that_no_application_takes_are_known_before_training(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3))
    run = run_of(net, 4, activations="int16")
    dry_run(networks_of(run), None, "small", ExportOptions())
    with pytest.raises(BadConfiguration, match="int8 inputs and outputs"):
        dry_run(networks_of(run), None, "small", ExportOptions(firmware=tmp_path))


def test_an_arena_that_is_too_large_is_refused_in_words(network: fx.GraphModule, monkeypatch: Any) -> None:
    net = nn.Sequential(nn.Conv2d(1, 64, 1), nn.MaxPool2d(540), nn.Flatten())
    with pytest.raises(BadConfiguration, match=r"at most 16,777,216 bytes, got 18,954,000 bytes .* at conv_2d"):
        dry_run(networks_of(run_of(net, 1, 540, 540)), None, "small", ExportOptions())
    # What no arithmetic foresees is found by trying.
    monkeypatch.setattr("export.tflite.arena.LARGEST_ARENA", 1024)
    with pytest.raises(BadConfiguration, match=r"arena: expected a network that TFLite Micro loads"):
        model_file(integer_graph(network))
