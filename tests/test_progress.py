"""Work that takes longer than a moment says what it does and how far it is, and nothing on stdout changes."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from torch import fx, nn

import qtorch
from export import __main__ as export_command
from export.cost import profile as profiling
from export.engines import Engine, tflm_available
from export.engines.engine import in_batches
from export.figures.sensitivity import layer_costs
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.parity.outputs import corner_codes, parity
from export.tflite.arena import smallest_arena
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES
from qtorch.config import QuantizationConfig
from qtorch.errors import ParityError
from qtorch.lightning.callback import QuantizationAwareTraining
from qtorch.post_training.steps import PostTraining, quantize_after_training
from qtorch.progress import numbered, rows, stage, stages
from qtorch.progress.stages import Stage
from tests.conftest import run_fuel
from tests.small_task import SmallData, SmallModule, small_trainer


class Recorded:
    """Every stage that was begun, beside how many were around it; and what was wrong at its end."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, Stage]] = []
        self.around: list[Stage] = []
        self.steps: dict[Stage, int] = {}

    def words(self, depth: int | None = None) -> list[str]:
        return [each.words for deep, each in self.begun if depth in (None, deep)]

    def of(self, words: str) -> Stage:
        """The first of these words."""
        return next(each for _, each in self.begun if each.words == words)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    record = Recorded()
    enter, leave = Stage.__enter__, Stage.__exit__

    def entered(self: Stage) -> Stage:
        record.begun.append((len(record.around), self))
        if record.around:
            around = record.around[-1]
            record.steps[around] = record.steps.get(around, 0) + 1
        record.around.append(self)
        return enter(self)

    def left(self: Stage, *how: Any) -> None:
        # None is left open inside another.
        assert record.around.pop() is self
        leave(self, *how)

    monkeypatch.setattr(Stage, "__enter__", entered)
    monkeypatch.setattr(Stage, "__exit__", left)
    return record


def test_a_recipe_names_every_stage_of_its_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recorded: Recorded
) -> None:
    assert run_fuel("--out", tmp_path / "out", "--trainer.max_epochs", "2") == 0
    (export,) = (each for _, each in recorded.begun if each.numbers)
    assert recorded.steps[export] == export.total
    before = [words for words in recorded.words(0) if words not in ("calibrating", "looking for saturated ranges")]
    expected = (
        "loading the data", "trying the export", "loading the data", "exporting", "writing the integers",
        "smallest arena", "comparing ", "taking test figures", "measuring what each tensor loses", "comparing sizes",
        "writing the report",
    )  # fmt: skip
    index = [each for _, each in recorded.begun].index(export)
    inside = [each.words for depth, each in recorded.begun[index:] if depth == 1]
    assert len(before + inside) == len(expected)
    assert all(words in line for words, line in zip(expected, before + inside, strict=True))
    printed = capsys.readouterr()
    assert not any(line in printed.out for line in [*before[:3], *inside])


def test_every_phase_has_a_number(fuel_out: Path, tmp_path: Path, recorded: Recorded) -> None:
    options = ["--export.post_training", "--export.c", "--export.target", "nano33ble"]
    assert export_command.main([str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "out"), *options]) == 0
    (export,) = (each for _, each in recorded.begun if each.numbers)
    assert recorded.steps[export] == export.total == 9


def test_an_export_of_a_checkpoint_names_them_on_stderr(
    fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MOMENT", 0.02)

    def slow(*_arguments: object, **_options: object) -> None:
        with numbered("exporting", 2), stage("working"):
            time.sleep(0.5)
        raise ParityError("far enough")

    monkeypatch.setattr("export.lightning_run.exported_run.make_bundle", slow)
    assert export_command.main([str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "working ...\n" in printed.err
    assert printed.out == ""


def test_calibration_counts_its_batches(network: fx.GraphModule, recorded: Recorded) -> None:
    qtorch.calibrate(network, [torch.rand(8, 3)] * 5)
    qtorch.saturation(network, [torch.rand(8, 3)] * 4)
    done = {each.words: (each.done, each.total) for _, each in recorded.begun}
    assert done == {"calibrating": (5, 5), "looking for saturated ranges": (4, 4)}


def test_what_fails_on_the_way_leaves_no_stage_open(network: fx.GraphModule, recorded: Recorded) -> None:
    with pytest.raises(qtorch.errors.BadInput):
        qtorch.calibrate(network, [torch.rand(8, 3), torch.rand(8, 4)])
    assert recorded.around == []
    assert recorded.of("calibrating").done == 1


def test_quantization_without_training_counts_layers_and_steps(recorded: Recorded) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 1)).eval()
    steps = PostTraining(equalize=True, correct_biases=True, round_adaptively=True)
    quantize_after_training(net, torch.rand(300, 3), QuantizationConfig(weight_bits=4), steps)
    assert recorded.words(0) == [
        "equalizing channels", "calibrating", "calibrating", "learning how to round weights", "correcting biases",
    ]  # fmt: skip
    layers = recorded.of("learning how to round weights")
    assert (layers.done, layers.total) == (2, 2)
    assert recorded.of("steps").done == recorded.of("steps").total == 1000
    # A layer, and in it its steps.
    assert [depth for depth, each in recorded.begun if each.words == "steps"] == [2, 2]


def test_parity_counts_inputs_in_every_engine(network: fx.GraphModule, recorded: Recorded) -> None:
    graph = integer_graph(network)

    def run(model: bytes, inputs: Any) -> Any:
        codes = iter(range(len(inputs[0])))
        return in_batches(lambda samples: [expected[next(codes)][None]], inputs, 1)

    codes = corner_codes(graph, 192)
    expected = interpret(graph, codes)[graph.outputs[0]]
    parity(graph, write_tflite(graph), codes, network, reported=(), judged=(Engine("mine", lambda: "1", run),))
    index = [each.words for _, each in recorded.begun].index("mine")
    inputs = recorded.begun[index + 1][1]
    assert (inputs.words, inputs.total, inputs.done) == ("inputs", 200, 256)
    assert recorded.of("the network that was trained").done == 1
    assert recorded.of("layers of the integer reference").total == len(graph.nodes)


@pytest.mark.skipif(not tflm_available(), reason="needs tflite-micro")
def test_the_search_for_an_arena_says_how_many_tries_are_left(network: fx.GraphModule, recorded: Recorded) -> None:
    smallest_arena(write_tflite(integer_graph(network)))
    tries = recorded.of("trying arenas")
    assert tries.total
    assert tries.done == tries.total


def test_layers_and_machines_are_counted(
    network: fx.GraphModule, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, machine = integer_graph(network), MACHINES["cortex_m4"]
    absent = SimpleNamespace(absent="not here", layers={}, layer_cycles={})
    monkeypatch.setattr(profiling, "on_machine", lambda *_, **__: absent)
    monkeypatch.setattr(profiling, "estimates", lambda *_: ())
    monkeypatch.setattr(profiling, "_arena", lambda _: (None, "not here"))
    profiling.profile(b"", graph, [machine, machine])
    layer_costs(network, torch.rand(4, 3))
    done = {each.words: (each.done, each.total) for depth, each in recorded.begun if not depth}
    assert done["counting on emulated machines"] == (2, 2)
    assert done["quantizing one layer at a time"] == (3, 3)


@pytest.mark.parametrize("bar", [True, False])
def test_a_trainer_with_a_bar_has_no_other_beside_it(bar: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet: dict[str, bool] = {}
    enter = Stage.__enter__

    def entered(self: Stage) -> Stage:
        quiet[self.words] = stages._QUIET.get()
        return enter(self)

    monkeypatch.setattr(Stage, "__enter__", entered)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    trainer = small_trainer(QuantizationAwareTraining(start=1), max_epochs=2)
    if bar:
        trainer.callbacks.append(TQDMProgressBar())  # type: ignore[attr-defined]
    trainer.fit(SmallModule(), datamodule=SmallData())
    assert quiet == {"calibrating": bar, "looking for saturated ranges": bar}
