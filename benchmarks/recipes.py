"""Every recipe by its default settings: figures of the test set over seeds, int8 as computed by TFLite Micro.

Each run is the recipe's own command in a process of its own; nothing is measured here that a user would not see.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.environments import ROOT
from benchmarks.pipeline import outputs_in_tflm
from benchmarks.suite import Suite, markdown_table, share
from export.opinions.grids import ends
from qtorch.numbers.qparams import QParams

__all__ = ["RECIPES"]

_SEEDS = (0, 1, 2, 3, 4)
#: Of ``metrics.json``, and what they are called in the table.
_STAGES = {"float": "float", "ptq_int8": "PTQ int8", "qat_int8": "QAT int8"}


@dataclass(frozen=True)
class _Recipe:
    """What is run, and the figure that it is judged by."""

    label: str
    module: str
    figure: str
    arguments: tuple[str, ...] = ()


_NOISELESS = "sine without noise"
_RECIPES = (
    _Recipe("fuel, synthetic cars", "recipes.fuel_qat", "mse"),
    _Recipe("sine, noise 0.1", "recipes.sine_qat", "mse"),
    _Recipe(_NOISELESS, "recipes.sine_qat", "mse", ("--data.noise", "0")),
    _Recipe("gesture, perceptron", "recipes.gesture_qat", "accuracy"),
    _Recipe(
        "gesture, Conv1d", "recipes.gesture_qat", "accuracy", ("--config", "recipes/gesture_qat/config_conv1d.yaml")
    ),
    _Recipe("digits", "recipes.digits_qat", "accuracy"),
    _Recipe("digits, 4-bit weights", "recipes.digits_qat", "accuracy", ("--qat.weight_bits", "4")),
    _Recipe("keyword", "recipes.keyword_qat", "accuracy"),
    _Recipe("anomaly", "recipes.anomaly_qat", "auc"),
)


def _run(recipe: _Recipe, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [
            sys.executable, "-W", "ignore", "-m", recipe.module, "--out", str(out), "--seed_everything", str(seed),
            "--trainer.enable_progress_bar", "false", *recipe.arguments,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        metrics = json.loads((out / "metrics.json").read_text())
        engines = json.loads((out / "parity.json").read_text())["engines"]
        everywhere = _against_the_sine((out / "sine.tflite").read_bytes()) if recipe.label == _NOISELESS else None
    return {
        "seed": seed,
        # What a straight line reaches, where the recipe says so.
        "line": metrics["test"].get("linear_regression", {}).get(recipe.figure),
        **{stage: metrics["test"][stage][recipe.figure] for stage in _STAGES},
        "bytes": metrics["tflite_bytes"],
        "outputs": engines["qat_network"]["outputs"],
        # The network's own are by the forward pass that training takes.
        "exact_mismatches": max(engines[name]["mismatches"] for name in ("tflm", "qat_network")),
        **({"everywhere": everywhere} if everywhere else {}),
    }


def _against_the_sine(model: bytes) -> dict[str, float]:
    """Errors on the device on every input that there is."""
    (source,), _ = ends(model)
    x = QParams(source.scale, source.zero_point).dequantize(np.arange(-128, 128, dtype=np.int8)[:, None])
    error = outputs_in_tflm(model, x) - np.sin(x)
    return {"largest": float(np.abs(error).max()), "mse": float(np.mean(error**2))}


def _measure() -> dict[str, Any]:
    return {
        "recipes": [
            {"recipe": each.label, "figure": each.figure, "runs": [_run(each, seed) for seed in _SEEDS]}
            for each in _RECIPES
        ]
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows = []
    for each in found["recipes"]:
        runs, figure, line = each["runs"], each["figure"], each["runs"][0]["line"]
        rows.append(
            [
                each["recipe"] + ("" if line is None else f" (a straight line: {_shown(figure, [line])})"),
                {"mse": "MSE", "auc": "AUC"}.get(figure, figure),
                *(_shown(figure, [run[stage] for run in runs]) for stage in _STAGES),
                f"{max(run['bytes'] for run in runs):,}",
                share(*max(((run["exact_mismatches"], run["outputs"]) for run in runs), key=lambda of: of[0] / of[1])),
            ]
        )
    return [
        *markdown_table(["recipe", "figure", *_STAGES.values(), "bytes, at most", "equal to TFLM"], rows),
        "",
        *_sine_lines(found),
    ]


def _shown(figure: str, values: Sequence[float]) -> str:
    """The mean, and the least and the most where they differ."""
    digits = 4 if figure != "mse" else 3 if max(values) > 0.1 else 5
    middle, least, most = (f"{of(values):.{digits}f}" for of in (mean, min, max))
    return middle if least == most else f"{middle} ({least} to {most})"


def _sine_lines(found: dict[str, Any]) -> list[str]:
    (sine,) = (each for each in found["recipes"] if each["recipe"] == _NOISELESS)
    largest, errors = ([run["everywhere"][key] for run in sine["runs"]] for key in ("largest", "mse"))
    return [
        f"On all 256 inputs, the sine without noise is off by at most {min(largest):.3f} to {max(largest):.3f} (median"
        f" of the seeds {median(largest):.3f}), with a mean squared error of {median(errors):.1e} (median)."
    ]


RECIPES = Suite("recipes", __doc__, _measure, _table)
