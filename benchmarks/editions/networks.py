"""Networks whole, and cut into their ops: the recipes', and the MLPerf Tiny references."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.editions.cases import Case, cut, of_graph, of_model
from benchmarks.environments import ROOT
from benchmarks.mlperf_networks import REFERENCES, judged_codes, trained_a_little
from export.graph.build import integer_graph
from export.parity.outputs import corner_codes
from export.tflite.reader import read_tflite

__all__ = ["RECIPES", "mlperf_cases", "recipe_cases"]

#: Modules, and what beside an epoch of either kind of training they are run with.
RECIPES = {
    "fuel": ("recipes.fuel_qat",),
    "fuel, per tensor": ("recipes.fuel_qat", "--qat.weights", "per_tensor"),
    "sine": ("recipes.sine_qat",),
    "gesture, perceptron": ("recipes.gesture_qat",),
    "gesture, Conv1d": ("recipes.gesture_qat", "--config", "recipes/gesture_qat/config_conv1d.yaml"),
    "digits": ("recipes.digits_qat",),
    "digits, 4-bit weights": ("recipes.digits_qat", "--qat.weight_bits", "4"),
    "keyword": ("recipes.keyword_qat",),
    "anomaly": ("recipes.anomaly_qat",),
}
#: Of random codes for a recipe, and as many corners; samples of an MLPerf network run whole, and of its ops.
_CODES, _WHOLE, _CUT = 32, 4, 1


def recipe_cases() -> Iterator[Case]:
    """Every recipe's file by its defaults, but trained for an epoch in float and one quantized."""
    for label, (module, *arguments) in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-W", "ignore", "-m", module, "--out", folder, "--trainer.max_epochs", "2",
                "--qat.start", "1", "--trainer.enable_progress_bar", "false", *arguments,
            ]  # fmt: skip
            # What it says of so short a training is no failure: the verdict is an exit code.
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            files = sorted(file for file in Path(folder).glob("*.tflite") if not file.stem.endswith("_named"))
            if not files:
                raise RuntimeError(f"{' '.join(command)}: no .tflite file; it ends with {done.stderr[-500:]}")
            for file in files:
                model = file.read_bytes()
                codes = corner_codes(read_tflite(model), _CODES)
                yield from of_model(label, model, tuple(array[-2 * _CODES :] for array in codes))


def mlperf_cases() -> Iterator[Case]:
    """The references after a few steps of training, on noise and on random codes."""
    for reference in REFERENCES:
        qat, _ = trained_a_little(reference)
        graph = integer_graph(qat)
        (codes,) = judged_codes(graph, reference)
        ends = (codes[:_WHOLE], codes[-_WHOLE:])
        for part, chosen in zip(("noise", "random codes"), ends, strict=True):
            yield of_graph(f"{reference.label}, {part}", graph, (chosen,))
            yield from cut(f"{reference.label}, {part}", graph, (chosen[:_CUT],))
