"""A checkpoint opens as what was trained, or is refused with the first difference; and it calls nothing but modules."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import nn

import qtorch
from export.__main__ import main as export_main
from qtorch import Mode
from qtorch.errors import BadCheckpoint, BadConfiguration
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run, read_checkpoint
from qtorch.packed_state import packed, unpacked
from tests import trained_modules as modules
from tests.plain_lightning import Alias, Plain, PlainData
from tests.small_task import small_trainer
from tests.test_training_reaches_the_export import command

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint.*"),
    pytest.mark.filterwarnings("ignore:.*val_dataloader.*"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*does not call self.save_hyperparameters"),
    pytest.mark.filterwarnings("ignore:Attribute 'kind' is an instance of"),
]


def fitted(module: pl.LightningModule, path: Path, epochs: int = 4, data: Any = None, **quantization: Any) -> Path:
    torch.manual_seed(0)
    trainer = small_trainer(QuantizationAwareTraining(start=0.5, **quantization), max_epochs=epochs)
    trainer.fit(module, datamodule=data or PlainData())
    trainer.save_checkpoint(path, weights_only=False)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return fitted(Plain(), tmp_path_factory.mktemp("plain") / "plain.ckpt")


def changed(path: Path, out: Path, change: Any) -> Path:
    """The same checkpoint with something else in it."""
    entries = torch.load(path, weights_only=True)
    change(entries)
    torch.save(entries, out)
    return out


@pytest.mark.parametrize(
    "quantization",
    [
        {"activations": "int16"},
        {"weight_bits": 4},
        {"weights": "per_tensor"},
        {"scales": "lsq"},
        {"weight_observer": "mse"},
    ],
    ids=str,
)
@pytest.mark.parametrize("asked", [{}, {"margin": 0.1}], ids=["nothing asked", "another margin asked"])
def test_options_of_the_checkpoint_hold_and_contradictions_are_refused(
    quantization: dict[str, Any], asked: dict[str, Any], tmp_path: Path
) -> None:
    module = Plain()
    path = fitted(module, tmp_path / "it.ckpt", **quantization)
    expected = modules.error_of(module.net)
    trainer = small_trainer(QuantizationAwareTraining(**asked))
    if asked:
        with pytest.raises(BadConfiguration, match=r"qat\.margin: expected 0\.0, as the checkpoint has it, got 0\.1"):
            trainer.test(Plain(), datamodule=PlainData(), ckpt_path=path, verbose=False)
        return
    fresh = Plain()
    (figures,) = trainer.test(fresh, datamodule=PlainData(), ckpt_path=path, verbose=False)
    assert figures["mse"] == pytest.approx(expected, rel=1e-5)
    assert fresh.net.ops == module.net.ops
    assert fresh.net.mode is Mode.QUANTIZED
    opened = load_run(path)
    assert modules.error_of(opened.module.net) == expected  # type: ignore[arg-type]


def test_the_command_line_takes_what_the_checkpoint_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: {class_path: tests.plain_lightning.Plain}\ndata: {class_path: tests.plain_lightning.PlainData}\n"
        "trainer: {max_epochs: 4, accelerator: cpu, logger: false, enable_progress_bar: false, "
        f"enable_model_summary: false, default_root_dir: {tmp_path}}}\nqat: {{start: 0.5}}\n"
    )
    more = ("--qat.activations", "int16", "--model.init_args.width", "12", "--resume", tmp_path / "resume")
    assert command("fit", "--config", config, *more) == 0
    (path,) = tmp_path.glob("checkpoints/*.ckpt")
    run = load_run(path)
    assert (run.qat.config.activations, run.module.hparams["width"]) == ("int16", 12)
    expected = modules.error_of(run.module.net)  # type: ignore[arg-type]
    capsys.readouterr()
    for asked in ((), ("--qat.activations", "int16"), ("--model.init_args.width", "12")):
        assert command("test", "--config", config, "--ckpt_path", path, *asked) == 0
        printed = capsys.readouterr().out
        (line,) = [line for line in printed.splitlines() if "mse" in line]
        assert float(line.split("│")[2]) == pytest.approx(expected, rel=1e-4)
    for option, value, was in (
        ("qat.activations", "int8", "'int16'"), ("qat.margin", "0.2", "0.0"), ("model.init_args.width", "8", "12"),
    ):  # fmt: skip
        for way in (
            ("test", "--ckpt_path", path),
            ("predict", "--ckpt_path", path),
            ("fit", "--resume", tmp_path / "resume"),
        ):
            assert command(way[0], "--config", config, *way[1:], f"--{option}", value) == 2
            said = capsys.readouterr().err
            assert f"{option}: expected {was}" in said
            assert f"got {value if option != 'qat.activations' else repr(value)}" in said
    assert command("fit", "--config", config, "--resume", tmp_path / "resume", "--trainer.max_epochs", "5") == 0
    again = load_run(tmp_path / "resume" / "resume.ckpt")
    assert (again.qat.config.activations, again.module.hparams["width"]) == ("int16", 12)


def test_the_mode_is_opened_too(tmp_path: Path) -> None:
    module = Plain()
    path = fitted(module, tmp_path / "it.ckpt", epochs=4, weight_bits=4)
    quantized = modules.error_of(module.net)
    with qtorch.in_mode(module.net, Mode.FLOAT):
        assert modules.error_of(module.net) != quantized
    run = load_run(path)
    assert run.module.net.mode is Mode.QUANTIZED
    assert run.module.net.norms_frozen
    assert modules.error_of(run.module.net) == quantized  # type: ignore[arg-type]
    # A trainer and a callback that were not there when it was trained.
    (figures,) = small_trainer(QuantizationAwareTraining()).test(module, datamodule=PlainData(), verbose=False)
    assert figures["mse"] == pytest.approx(quantized, rel=1e-5)


def test_a_network_built_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"can't be opened .* layer '0' fully_connected.*activation"):
        path = fitted(modules.ForgottenActivation(nn.Identity), tmp_path / "act.ckpt")
    with pytest.raises(BadCheckpoint, match=r"layer '0' fully_connected with activation relu.*got activation none"):
        load_run(path)


def test_a_number_that_is_in_no_argument_is_in_the_state(tmp_path: Path) -> None:
    """Built again the factor is 1; what was trained with it opens with it."""
    module = modules.ForgottenFactor(3.0)
    run = load_run(fitted(module, tmp_path / "factor.ckpt"))
    assert modules.error_of(run.module.net) == modules.error_of(module.net)  # type: ignore[arg-type]
    assert modules.error_of(run.module.net) < 0.5 * modules.error_of(run.qat.original)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "layer"), [("net.3.bias", "'3'"), ("net.0.weight", "'0'"), ("net.1.running_mean", "'0'")]
)
def test_another_answer_is_refused(plain: Path, tmp_path: Path, entry: str, layer: str) -> None:
    def moved(entries: dict[str, Any]) -> None:
        entries["state_dict"][entry] += 0.05

    with pytest.raises(BadCheckpoint, match=f"answers as the trained one did, layer {layer} too"):
        load_run(changed(plain, tmp_path / "edited.ckpt", moved))


def test_a_flipped_byte_is_found_by_the_files_own_checksum(plain: Path, tmp_path: Path) -> None:
    content = bytearray(plain.read_bytes())
    with zipfile.ZipFile(plain) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith("/data/0")]
        start = content.index(archive.read(name))
    content[start + 7] ^= 2
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(content)
    # PyTorch opens it.
    torch.load(damaged, weights_only=True)
    with pytest.raises(BadCheckpoint, match=r"got others in .*/data/0, as its checksum says"):
        read_checkpoint(damaged)
    content[start + 7] ^= 2
    damaged.write_bytes(content)
    with zipfile.ZipFile(damaged, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(name, bytes(4))
    with pytest.raises(BadCheckpoint, match="names that it has twice"):
        read_checkpoint(damaged)
    for end in (0, 1, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:end])
        with pytest.raises(BadCheckpoint):
            read_checkpoint(damaged)


def test_hyperparameters_of_harmless_kinds_open(tmp_path: Path) -> None:
    module = modules.OddArguments(modules.Size.LARGE, Path("folder"), np.float32(1))
    run = load_run(fitted(module, tmp_path / "odd.ckpt"))
    assert run.module.hparams["size"] is modules.Size.LARGE
    assert run.module.hparams["folder"] == Path("folder")
    assert modules.error_of(run.module.net) == modules.error_of(module.net)  # type: ignore[arg-type]


def test_what_cannot_be_opened_again_is_said_before_the_first_epoch(tmp_path: Path) -> None:
    class Epochs(pl.Callback):
        seen = 0

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            Epochs.seen += 1

    class Local(Plain):
        pass

    class Objects(Plain):
        def __init__(self, kind: Any) -> None:
            super().__init__()
            self.save_hyperparameters()

    Objects.__qualname__, modules.Objects = "Objects", Objects  # type: ignore[attr-defined]
    Objects.__module__ = modules.__name__
    handed = modules.HandedIn(nn.Sequential(nn.Linear(4, 1)))
    for module, words in (
        (handed, "missing a required argument: 'net'"), (Local(), "define the class in a module"),
        (Objects(kind=nn.ReLU()), "got an object of torch.nn.modules.activation.ReLU"),
    ):  # fmt: skip
        trainer = small_trainer(QuantizationAwareTraining(), Epochs(), max_epochs=2)
        with pytest.warns(UserWarning, match=f"can't be opened.*{words}"):
            trainer.fit(module, datamodule=PlainData())
        strict, Epochs.seen = QuantizationAwareTraining(), 0
        strict.needs_checkpoint = True
        again = copy.deepcopy(module)
        with pytest.raises(BadConfiguration, match="can be opened again"):
            small_trainer(strict, Epochs(), max_epochs=2).fit(again, datamodule=PlainData())
        assert Epochs.seen == 0
        path = tmp_path / "it.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        with pytest.raises(
            BadCheckpoint, match=words.split(":")[0].removeprefix("define the class in ").split(" of ")[0]
        ):
            load_run(path)


EVIL = {
    "a function": ("os.system", {"command": "touch {}"}),
    "a function of a submodule": ("os.path.join", {"a": "touch {}"}),
    "another class": ("subprocess.Popen", {"args": ["touch", "{}"]}),
    "a class of torch": ("torch.nn.Linear", {"in_features": 1, "out_features": 1}),
    "the wrong kind of module": ("tests.plain_lightning.PlainData", {}),
    "no name": ("", {}),
    "no module": ("nowhere.at_all.Thing", {}),
    "a number": (3, {}),
}


@pytest.mark.parametrize("part", ["module", "data"])
@pytest.mark.parametrize("evil", EVIL)
def test_a_checkpoint_calls_nothing_but_modules(
    plain: Path, tmp_path: Path, part: str, evil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, arguments = EVIL[evil]
    called = tmp_path / "called"
    arguments = {
        k: v.format(called) if isinstance(v, str) else [str(p).format(called) for p in v] if isinstance(v, list) else v
        for k, v in arguments.items()
    }
    if part == "data" and evil == "the wrong kind of module":
        name = "tests.plain_lightning.Plain"

    def poison(entries: dict[str, Any]) -> None:
        entries["qtorch"][part] = {"class_path": name, "init_args": arguments}

    path = changed(plain, tmp_path / "evil.ckpt", poison)
    if part == "data" and evil == "no module":
        # Data that are gone are no reason not to open a network.
        assert "nowhere" in load_run(path).data_absent
    else:
        assert export_main([str(path), "--out", str(tmp_path / "out")]) == 2
        assert "Remedy" in capsys.readouterr().err
    assert not called.exists()
    assert not (tmp_path / "out").exists()


def _without(name: str) -> Any:
    def change(entries: dict[str, Any]) -> None:
        del entries["qtorch"][name]

    return change


def _described(**others: Any) -> Any:
    def change(entries: dict[str, Any]) -> None:
        state, name = entries["state_dict"], "net._extra_state"
        state[name] = packed({**unpacked(state[name]), **others})

    return change


def _with(name: str, value: Any) -> Any:
    def change(entries: dict[str, Any]) -> None:
        entries["qtorch"][name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(_without(name) for name in ("format", "task", "module", "data", "qat", "state")),
        _with("format", 2), _with("format", 99), _with("module", None), _with("module", {"class_path": "x"}),
        _with("qat", {"colour": 1}), _with("qat", 5), _with("state", {}), _with("state", {"mode": "fast"}),
        lambda entries: entries.pop("state_dict"),
        lambda entries: entries.pop("qtorch"),
        lambda entries: entries["state_dict"].pop("net._extra_state"),
        lambda entries: entries["state_dict"].pop("net.3.weight"),
        lambda entries: entries["state_dict"].update({"net.3.weight": torch.zeros(7)}),
        _described(format=9),
        lambda entries: entries["qtorch"]["module"]["init_args"].update(width=9),
        lambda entries: entries["qtorch"]["module"]["init_args"].update(width="wide"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_lacks_something_is_refused_in_words(plain: Path, tmp_path: Path, change: Any) -> None:
    with pytest.raises(BadCheckpoint, match=r"expected .*, got .*\. Remedy: "):
        load_run(changed(plain, tmp_path / "it.ckpt", change))


def test_weights_alone_open_as_what_was_trained(tmp_path: Path) -> None:
    """``save_weights_only`` leaves out all but the module's state; that says how it is quantized."""
    module = Plain()
    trainer = small_trainer(QuantizationAwareTraining(start=0.5, activations="int16"), max_epochs=4)
    trainer.fit(module, datamodule=PlainData())
    trainer.save_checkpoint(tmp_path / "w.ckpt", weights_only=True)
    fresh = Plain()
    small_trainer(QuantizationAwareTraining()).test(
        fresh, datamodule=PlainData(), ckpt_path=tmp_path / "w.ckpt", verbose=False
    )
    assert fresh.net.ops == module.net.ops
    assert modules.error_of(fresh.net) == modules.error_of(module.net)


@pytest.mark.parametrize("averaging", [None, EMAWeightAveraging(decay=0.9)], ids=["alone", "averaged"])
def test_every_way_to_open_asks_for_the_answer(averaging: Any, tmp_path: Path) -> None:
    """And finds the mode in which it was trained, and the ranges that it ended with."""
    torch.manual_seed(0)
    module, path = Plain(), tmp_path / "it.ckpt"
    callbacks = [each for each in (QuantizationAwareTraining(start=1), averaging) if each]
    trainer = small_trainer(*callbacks, max_epochs=4)
    trainer.fit(module, datamodule=PlainData())
    trainer.save_checkpoint(path, weights_only=False)
    run = load_run(path)
    assert run.module.net.mode is Mode.QUANTIZED
    assert modules.error_of(run.module.net) == modules.error_of(module.net)  # type: ignore[arg-type]

    def negated(entries: dict[str, Any]) -> None:
        entries["state_dict"]["net.0.weight"][0, 0] *= -1.0

    edited = changed(path, tmp_path / "edited.ckpt", negated)
    with pytest.raises(BadCheckpoint, match="layer '0' too"):
        load_run(edited)
    if averaging is None:
        with pytest.raises(BadCheckpoint, match="layer '0' too"):
            Plain.load_from_checkpoint(edited, weights_only=True)
        with pytest.raises(BadCheckpoint, match="layer '0' too"):
            small_trainer(QuantizationAwareTraining()).test(Plain(), PlainData(), ckpt_path=edited, verbose=False)


@pytest.mark.parametrize("kind", [Plain, Alias, modules.Prepared])
def test_lightnings_own_way_to_load_gives_the_network_that_was_trained(kind: Any, tmp_path: Path) -> None:
    module = kind()
    path = fitted(module, tmp_path / "it.ckpt", **({} if kind is modules.Prepared else {"weight_bits": 4}))
    again = kind.load_from_checkpoint(path, weights_only=True)
    assert again.net.ops == module.net.ops
    assert again.net.mode is Mode.QUANTIZED
    assert modules.error_of(again) == modules.error_of(module)
