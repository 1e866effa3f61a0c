"""What pages say beside their examples: commands run, configurations are read, options and files exist."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import qtorch
from benchmarks.editions import command as editions
from benchmarks.files import command as files
from benchmarks.kernels import command as kernels
from benchmarks.suites import SUITES
from benchmarks.zoo import command as zoo
from export.checkkernel import __main__ as checkkernel
from export.command_line import main as console_script
from export.command_line.table import COMMANDS
from firmware.emulation import sketch_available
from qtorch.config import QuantizationConfig
from qtorch.errors import UnsupportedLayer
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.lightning.checkpoint import load_run
from qtorch.lightning.command_line.boolean_options import with_values
from tests import module_oracle
from tests.test_docs import DOCS, LOOKED_UP, README, ROOT, TFLM_PAGE, blocks

PAGES = [README, TFLM_PAGE, *sorted(DOCS.glob("*.md"))]

#: What a reader puts for the words in capitals; ``CHECKPOINT`` and ``MODEL.tflite`` are a short run's.
_GIVEN = {"DIR": "out", "NAME": "tflm", "VERSION": "1.2", "BOARD": "host", "EDITION": "newest"}
_QUICK = ("--trainer.max_epochs", "4", "--trainer.enable_progress_bar", "false")
#: Lines that are not run here, by their first word, and why not.
_NOT_RUN = {
    "make": "its targets are commands of their own, which the tests and continuous integration run",
    "pip": "tests/test_wheel.py installs what is published",
    "cmake": "tests/test_tflm_application.py builds these projects",
    "ctest": "tests/test_tflm_application.py runs them",
    "arduino-cli": "a sketch is compiled with Arduino's core and flags by test_a_sketch_compiles_and_agrees",
}
#: Commands of others: their options are not ours.
_FOREIGN = re.compile(r"^(?:cmake|ctest|pip|cc|apt-get|arduino-cli)\b.*|`(?:pip|apt-get) [^`]*`|`--specs=[^`]*`")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w.]*(?<!\.)(?:-\w+)*")
_FILE = re.compile(r"`((?:qtorch|export|recipes|firmware|tests|benchmarks)/[\w/]*[\w.]+)`")
_RECIPES = ("fuel", "sine", "gesture", "digits", "keyword", "anomaly")
_COMMANDS = {
    **dict.fromkeys((f"recipes.{task}_qat" for task in _RECIPES), ()),
    "recipes.sine_qat": ("test",),
    "benchmarks": (),
    "firmware.emulation": (),
    "qtorch": tuple(name for name in COMMANDS if name not in ("recipe", "support")),
}


def commands(page: Path) -> list[str]:
    """Lines of a page's shell blocks that are run, without their comments and the path of a virtual environment."""
    lines = [line for block in blocks(page) if block.kind == "sh" for line in block.text.splitlines()]
    typed = [line.split("#")[0].strip().removeprefix(".venv/bin/") for line in lines]
    return [line for line in typed if line and line.split()[0] not in _NOT_RUN]


def run(module: str, *arguments: str) -> int:
    """``python -m module arguments``, or ``qtorch arguments``, in this process; the exit code."""
    before, sys.argv = sys.argv, [module, *arguments]
    # Another test may have imported it, which runpy warns of.
    imported = sys.modules.pop(f"{module}.__main__", None)
    try:
        if module == "qtorch":
            return console_script()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
        if imported is not None:
            sys.modules[f"{module}.__main__"] = imported
    return 0


def typed(line: str, given: Mapping[str, str]) -> list[str]:
    """Words of a command with all that brackets say is optional, and what ``given`` puts for the words in capitals."""
    return [given.get(word, word) for word in shlex.split(re.sub(r"[][]| \.\.\.", "", line))]


_SKETCH = "python -m firmware.emulation "
#: Of the pages that are not run from top to bottom; a sketch is run where it is exported.
_TYPED = sorted(
    {line for page in (README, TFLM_PAGE, *LOOKED_UP) for line in commands(page) if not line.startswith(_SKETCH)}
)
#: What trains, and says how well: all of a pipeline.
_PIPELINE = re.compile(r"^(?:python -m recipes\.\w+|qtorch recipe (?!copy)\w+)")


def table_of_cars(path: Path) -> str:
    rows = [f"A{i},{1 + i / 10:.1f},{4 + i % 3},{8 + i / 5},{200 + 3 * i}" for i in range(30)]
    path.write_text("\n".join(["MAKE,ENGINE SIZE,CYLINDERS,FUEL CONSUMPTION,COEMISSIONS", *rows]))
    return str(path)


def own_package(folder: Path) -> None:
    """The module and data that pages call ``my_package``, and ``run.yaml``, which names them."""
    page = next(block.text for block in blocks(DOCS / "bring_your_data.md") if "save as my_package.py" in block.text)
    (folder / "my_package.py").write_text(page)
    (folder / "run.yaml").write_text(yaml.safe_dump(configuration("lightning.md")))


def foreign_network(folder: Path) -> None:
    """What pages call ``NET.pt``, its weights as those of ``my_package.MyModule`` in ``STATE.pt``, and data."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    torch.save(net, folder / "NET.pt")
    torch.save({f"net.{name}": values for name, values in net.state_dict().items()}, folder / "STATE.pt")
    x = torch.rand(100, 2)
    np.save(folder / "INPUTS.npy", x.numpy())
    np.savez(folder / "TEST.npz", x=x.numpy(), y=x.sum(1, keepdim=True).numpy())


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one, in which commands are given; modules that lie there are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("my_package", None)


@pytest.mark.tflm
@pytest.mark.usefixtures("one_thread")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("line", _TYPED, ids=str)
def test_a_command_runs(
    line: str, fuel_out: Path, working_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    checkpoint, model = str(fuel_out / "fuel.ckpt"), str(fuel_out / "fuel.tflite")
    if line.startswith("qtorch quantize"):
        foreign_network(working_folder)
    if line.startswith("qtorch compile"):
        # The recipe's network takes three features.
        np.save(working_folder / "INPUTS.npy", np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32))
    if "run.yaml" in line or "my_package" in line:
        own_package(working_folder)
        if "CHECKPOINT" in line:
            assert run("qtorch", "fit", "--config", "run.yaml", *_QUICK) == 0
            (trained,) = working_folder.rglob("*.ckpt")
            checkpoint = str(trained)
    made = dict.fromkeys(("CHECKPOINT", "fuel.ckpt", "build/fuel/fuel.ckpt"), checkpoint) | {"MODEL.tflite": model}
    cars = table_of_cars(working_folder / "cars.csv")
    program, *arguments = typed(line.removeprefix("python -m "), {**_GIVEN, **made, "cars.csv": cars})
    trains = _PIPELINE.match(line) is not None or arguments[:1] == ["fit"]
    if trains and "--help" not in arguments:
        arguments += _QUICK
    assert run(program, *arguments) == 0, capsys.readouterr().err
    if _PIPELINE.match(line) and not {"--help", "fit"} & set(arguments):
        (trained,) = working_folder.rglob("*.ckpt")
        losses = list(load_run(trained).qat.losses["training"].values())
        assert losses[-1] < losses[0]
    # The one command that is given a .tflite file writes it again only where that is asked for.
    made_of_it = "*_model.c" if arguments[:1] == ["compile"] and "--tflite" not in arguments else "*.tflite"
    for option, file in (("--out", made_of_it), ("--export.firmware", "README.md")):
        if option in arguments:
            assert list((working_folder / arguments[arguments.index(option) + 1]).glob(file))


def test_every_command_is_tried() -> None:
    tried = {tuple(line.split()[:2]) for line in _TYPED if line.startswith("qtorch ")}
    assert {("qtorch", name) for name in COMMANDS} - tried <= {("qtorch", "validate"), ("qtorch", "predict")}


def test_what_is_not_run_has_its_reason() -> None:
    """And what :command:`make` is told to make is there."""
    lines = [line for page in PAGES for block in blocks(page) if block.kind == "sh" for line in block.text.splitlines()]
    made = {line.split()[1] for line in lines if line.startswith("make ")}
    (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"run", "test"} <= made <= set(targets.split())
    named = {reason for reasons in _NOT_RUN.values() for reason in re.findall(r"tests/\w+\.py", reasons)}
    assert all((ROOT / file).is_file() for file in named)


@pytest.mark.avr
@pytest.mark.tflm
def test_a_sketch_compiles_and_agrees(fuel_out: Path, working_folder: Path, capsys: pytest.CaptureFixture) -> None:
    """The README's way from a checkpoint to an Arduino, by its own command, and the emulated board's."""
    if absent := sketch_available():
        pytest.skip(absent)
    (line,) = (line for line in commands(README) if "--export.target uno" in line)
    assert "arduino-cli compile --fqbn arduino:avr:uno --library build/fuel_sketch" in README.read_text()
    assert run(*typed(line, {"build/fuel/fuel.ckpt": str(fuel_out / "fuel.ckpt")})) == 0
    (line,) = (line for line in commands(DOCS / "devices.md") if line.startswith(_SKETCH))
    assert run(*typed(line.removeprefix("python -m "), {"project": "build/fuel_sketch"})) == 0
    assert "32 of 32 vectors agree" in capsys.readouterr().out


def test_a_command_may_have_no_options() -> None:
    assert "python -m recipes.fuel_qat\n" in (ROOT / "Makefile").read_text()
    assert with_values([], {"--export.c"}) == []


@cache
def known_options() -> frozenset[str]:
    """What the commands' own ``--help`` says, and what the firmware's program takes."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        for module, subcommands in _COMMANDS.items():
            whole = "--help.all" if module.startswith("recipes.") else "--help"
            assert run(module, whole) == 0
            assert all(run(module, subcommand, whole) == 0 for subcommand in subcommands)
        # A short help names the long one; and one of the tests' own commands is for whoever wants more of them.
        assert run("recipes.fuel_qat", "--help") == 0
        for main in (module_oracle.main, zoo.main, editions.main, files.main, checkkernel.main, kernels.main):
            with pytest.raises(SystemExit):
                main(["--help"])
    on_the_host = (ROOT / "firmware" / "tflm" / "boards" / "board_host.cc").read_text()
    return frozenset(_OPTION.findall(heard.getvalue() + on_the_host))


def test_what_is_no_option_is_noticed() -> None:
    assert "--export.onyx" in _OPTION.findall("run it with `--export.onyx`.")
    ours = {"--export.onnx", "--qat.margin", "--data.idx_folder", "--against", "--milliamps", "--files"}
    assert ours <= known_options()
    assert "--export.onyx" not in known_options()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_that_a_page_names_exist(page: Path) -> None:
    text = re.sub(r"^```text\n.*?^```$|<!--.*?-->", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = {option for line in text.splitlines() for option in _OPTION.findall(_FOREIGN.sub("", line))}
    assert named <= known_options(), sorted(named - known_options())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_benchmarks_that_a_page_names_exist(page: Path) -> None:
    assert set(re.findall(r"python -m benchmarks ([a-z_]+)", page.read_text())) <= {*SUITES, "zoo", "kernels"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    named = set(_FILE.findall(text)) - set(re.findall(r"save as (\S+)", text))
    absent = [file for file in sorted(named) if not (ROOT / file).exists()]
    assert not absent


def configuration(page: str) -> dict[str, Any]:
    """The one YAML block of a page."""
    (block,) = [block for block in blocks(DOCS / page) if block.kind == "yaml"]
    return dict(yaml.safe_load(block.text))


def test_the_options_of_quantization_are_all_there_and_valid() -> None:
    shown = configuration("quantization_options.md")["qat"]
    callback = QuantizationAwareTraining(**shown)
    assert callback.config.layers == shown["layers"]
    # `skip` and `layers` are about single layers, and shown there.
    assert {field.name for field in fields(QuantizationConfig)} - set(shown) == {"skip"}
    assert any("skip" in changes for changes in shown["layers"].values())


def test_what_the_comments_offer_is_accepted() -> None:
    (block,) = [block for block in blocks(DOCS / "quantization_options.md") if block.kind == "yaml"]
    comments = dict(re.findall(r"^  (\w+): [^#\n]*# (.*)$", block.text, re.MULTILINE))
    for option in ("weights", "weight_bits", "activations"):
        (other,) = re.findall(r"or (\w+)$", comments[option])
        QuantizationConfig(**{option: yaml.safe_load(other)})
    for observer in comments["observer"].split(", "):
        QuantizationConfig(observer=observer, weight_observer=observer)
    for scales in re.findall(r"(?:lsq\+?|pact)", comments["scales"]):
        QuantizationConfig(scales=scales)
    for gradient in comments["gradient"].split(": ")[1].split(", "):
        QuantizationConfig(gradient=gradient)


@pytest.mark.usefixtures("one_thread")
def test_the_file_of_a_whole_run_trains(working_folder: Path) -> None:
    own_package(working_folder)
    # As it stands there, its hundred epochs of four batches included: what learned nothing is no run.
    quiet = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false")
    assert run("qtorch", "fit", "--config", "run.yaml", *quiet) == 0
    assert list((working_folder / "logs").rglob("metrics.csv"))
    (checkpoint,) = (working_folder / "logs").rglob("*.ckpt")
    losses = list(load_run(checkpoint).qat.losses["training"].values())
    assert losses[-1] < 0.5 * losses[0]


class Called(nn.Module):
    """A function as a network, beside a parameter ``w``."""

    def __init__(self, call: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.call, self.w = call, nn.Parameter(torch.randn(4, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(self, x)


_REFUSED = {
    "argsort": (Called(lambda net, x: x.argsort(1)), (1, 4)),
    "topk": (Called(lambda net, x: x.topk(2, 1)[1].float()), (1, 4)),
}
_COMPOSED = {
    "LayerNorm": (nn.LayerNorm(4), (1, 3, 4)),
    "GroupNorm": (nn.GroupNorm(2, 4), (1, 4, 3)),
    "InstanceNorm": (nn.InstanceNorm1d(3), (1, 3, 4)),
    "LocalResponseNorm": (nn.LocalResponseNorm(2), (1, 4, 3, 3)),
    "GLU": (nn.GLU(), (1, 4)),
    "x @ self.w": (Called(lambda net, x: x @ net.w), (1, 3, 4)),
    "logsumexp": (Called(lambda net, x: x.logsumexp(1)), (1, 3, 4)),
    "x[:, [0, 2, 1]]": (Called(lambda net, x: x[:, [0, 2, 1]]), (1, 3, 4)),
    "cumsum": (Called(lambda net, x: x.cumsum(1)), (1, 4)),
    "x @ y": (Called(lambda net, x: x @ x.transpose(1, 2)), (1, 3, 4)),
    "Conv3d": (nn.Conv3d(2, 3, 2), (1, 2, 3, 4, 4)),
    "x * (x > 0)": (Called(lambda net, x: x * (x > 0)), (1, 4)),
    "lerp": (Called(lambda net, x: torch.lerp(x, 2 * x, 0.3)), (1, 4)),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_is_said_to_be_refused_is(name: str) -> None:
    assert f"`{name}`" in (DOCS / "operators.md").read_text()
    layer, shape = _REFUSED[name]
    with pytest.raises(UnsupportedLayer):
        qtorch.prepare(nn.Sequential(layer), torch.zeros(shape))


@pytest.mark.parametrize("name", _COMPOSED)
def test_what_is_said_to_be_composed_is(name: str) -> None:
    assert f"`{name}`" in (DOCS / "operators.md").read_text()
    layer, shape = _COMPOSED[name]
    x = torch.randn(3, *shape[1:])
    torch.testing.assert_close(qtorch.prepare(nn.Sequential(layer), x[:1]).eval()(x), layer(x), atol=1e-4, rtol=1e-4)
