"""What quantization adds to a float network: to a step in Lightning's loop, a forward pass, an import; and an export.

The fuel network but for the integer reference, which runs DS-CNN. Fits, passes and processes of each kind take turns;
ratios are formed within a turn.
"""

from __future__ import annotations

import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch

import qtorch
from benchmarks.environments import ROOT
from benchmarks.epoch_clock import EpochClock
from benchmarks.mlperf_networks import REFERENCES
from benchmarks.spread import Spread, cell, ratios, spread
from benchmarks.suite import Suite, markdown_table
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.parity.outputs import compare_file
from export.tflite.writer import write_tflite
from qtorch import Mode
from qtorch.lightning.callback import QuantizationAwareTraining
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption

__all__ = ["OVERHEAD"]

_FITS, _EPOCHS = 7, 12
_TURNS = 21
_IMPORTS = 5
#: How long one kind takes in a turn, so that the clock's own cost vanishes.
_SECONDS = 0.05
_BATCH, _REFERENCE_BATCH = 4096, 64

#: How a fit trains, by the name of its kind. Quantized training begins behind the first epoch.
_KINDS: dict[str, Callable[[], list[pl.Callback]]] = {
    "float": list,
    "quantized": lambda: [QuantizationAwareTraining(start=1, freeze_batch_norm=None)],
}


def _fit(callbacks: list[pl.Callback]) -> float:
    """Median seconds of a step in one fit of the fuel recipe."""
    torch.manual_seed(0)
    # Lightning says the same of every fit.
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    clock, data = EpochClock(), FuelData()
    trainer = pl.Trainer(
        max_epochs=_EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[clock, *callbacks],
    )
    trainer.fit(FuelConsumption(), datamodule=data)
    # The first epoch warms up, the second calibrates.
    return statistics.median(clock.seconds[2:]) / len(data.train_dataloader())


def _in_turn(runs: Mapping[str, Callable[[], object]], turns: int) -> list[dict[str, float]]:
    """Seconds of each run, repeated to some length, turn after turn."""
    repeats = {}
    for name, run in runs.items():
        started = time.perf_counter()
        run()
        repeats[name] = max(1, round(_SECONDS / (time.perf_counter() - started)))
    found = []
    for _ in range(turns):
        turn = {}
        for name, run in runs.items():
            started = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            turn[name] = (time.perf_counter() - started) / repeats[name]
        found.append(turn)
    return found


def _ratios(turns: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The float run's seconds, and the others over it."""
    plain = asdict(spread([turn["float"] for turn in turns]))
    return {"float_s": plain, **{kind: asdict(ratio) for kind, ratio in ratios(turns).items()}}


def _forward() -> dict[str, Any]:
    torch.manual_seed(0)
    net, x = FuelConsumption().net.eval(), torch.rand(_BATCH, 3)
    qat = qtorch.prepare(net, x[:1]).eval()
    qtorch.calibrate(qat, [x])
    qtorch.set_mode(qat, Mode.QUANTIZED)
    with torch.no_grad():
        return _ratios(_in_turn({"float": lambda: net(x), "quantized": lambda: qat(x)}, _TURNS))


def _reference() -> dict[str, Any]:
    torch.manual_seed(0)
    reference = REFERENCES[0]
    net, x = reference.network(), torch.randn(_REFERENCE_BATCH, *reference.shape)
    net(x)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    codes = codes_of(graph, x)
    with torch.no_grad():
        return _ratios(_in_turn({"float": lambda: net(x), "reference": lambda: interpret(graph, codes)}, _TURNS))


def _export() -> Spread:
    torch.manual_seed(0)
    net, x = FuelConsumption().net.eval(), torch.rand(256, 3)
    qat = qtorch.prepare(net, x[:1])
    qtorch.calibrate(qat, [x])

    def run() -> None:
        graph = integer_graph(qat)
        compare_file(graph, write_tflite(graph))

    return spread([turn["export"] for turn in _in_turn({"export": run}, _TURNS)])


def _imports() -> dict[str, Any]:
    found: dict[str, list[float]] = {"torch": [], "qtorch, export": []}
    for _ in range(_IMPORTS):
        for modules, seconds in found.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {modules}"], check=True, cwd=ROOT)
            seconds.append(time.perf_counter() - started)
    return {modules: asdict(spread(seconds)) for modules, seconds in found.items()}


def _measure() -> dict[str, Any]:
    fits = [{name: _fit(callbacks()) for name, callbacks in _KINDS.items()} for _ in range(_FITS)]
    return {
        "step": _ratios(fits),
        "forward": _forward(),
        "reference": _reference(),
        "export_s": asdict(_export()),
        "import_s": _imports(),
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    step, forward, reference = found["step"], found["forward"], found["reference"]
    imports = found["import_s"]
    # Results from before there was one quantized mode have others' names.
    quantized = [
        [name, cell(ratios["quantized"])]
        for name, ratios in (
            ("QAT step / float step, fuel, Lightning's loop", step),
            (f"quantized forward / float forward, fuel, batch {_BATCH:,}", forward),
        )
        if "quantized" in ratios
    ]
    return markdown_table(
        ["", "median (quartiles)"],
        [
            *quantized,
            [f"integer reference / float forward, DS-CNN, batch {_REFERENCE_BATCH}", cell(reference["reference"])],
            ["an export with its comparison of scales and constants, fuel, ms", _milliseconds(found["export_s"])],
            ["`import qtorch, export`, s", cell(imports["qtorch, export"])],
            ["`import torch`, s", cell(imports["torch"])],
        ],
    )


def _milliseconds(seconds: Mapping[str, float]) -> str:
    return cell({name: 1e3 * value for name, value in seconds.items()}, ".1f")


OVERHEAD = Suite("overhead", __doc__, _measure, _table)
