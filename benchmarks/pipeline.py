"""The whole fuel process here and by the tutorials with Keras and tfmot, imports included: seconds and test errors."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import ROOT, NotInstalled, interpreter
from benchmarks.rounds import absent_lines
from benchmarks.spread import cell, spread
from benchmarks.suite import Suite, markdown_table
from export.engines import TFLM
from export.opinions.grids import ends
from qtorch.numbers.qparams import QParams
from recipes.fuel_qat.data import FuelData

__all__ = ["PIPELINE", "outputs_in_tflm"]

_SEEDS = (0, 1, 2)
#: Of the tutorials: that many in float, and as many again with quantization.
_EPOCHS = 300

_Run = Callable[[Path, int], dict[str, float]]


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=1200).stdout


def _qtorch(folder: Path, seed: int) -> dict[str, float]:
    quiet = ["--trainer.enable_progress_bar", "false", "--out", str(folder / "out")]
    _output([sys.executable, "-W", "ignore", "-m", "recipes.fuel_qat", "--seed_everything", f"{seed}", *quiet])
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    errors = {"float_mse": "float", "qat_mse": "qat_network", "int8_mse": "qat_int8"}
    return {
        **{name: metrics["test"][stage]["mse"] for name, stage in errors.items()},
        "bytes": metrics["tflite_bytes"],
    }


def _keras(python: Path) -> _Run:
    def run(folder: Path, seed: int) -> dict[str, float]:
        arrays = FuelData().load()
        (x, y), (x_test, y_test) = arrays.train, arrays.test
        np.savez(folder / "arrays.npz", x=x.numpy(), y=y.numpy(), x_test=x_test.numpy(), y_test=y_test.numpy())
        module = "benchmarks.peers.keras_tutorial"
        said = _output(
            [str(python), "-m", module, f"{folder}/arrays.npz", f"{folder}/m.tflite", f"{seed}", f"{_EPOCHS}"]
        )
        device = outputs_in_tflm((folder / "m.tflite").read_bytes(), x_test.numpy())
        return {**json.loads(said.splitlines()[-1]), "int8_mse": float(np.mean((device - y_test.numpy()) ** 2))}

    return run


def outputs_in_tflm(model: bytes, x: np.ndarray) -> np.ndarray:
    """Real outputs of anybody's int8 file in TFLite Micro."""
    (source,), (sink,) = ends(model)
    into, out_of = (QParams(end.scale, end.zero_point) for end in (source, sink))
    (codes,) = TFLM.run(model, (into.quantize(x),))
    return out_of.dequantize(codes)


def _measure() -> dict[str, Any]:
    runs: dict[str, _Run] = {"qtorch": _qtorch}
    absent = []
    try:
        runs["Keras, tfmot"] = _keras(interpreter("tensorflow"))
    except NotInstalled as error:
        absent.append({"what": "Keras, tfmot", "why": str(error)})
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for seed in _SEEDS:
        for name, run in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                figures = run(Path(folder), seed)
                found[name].append({**figures, "seconds": time.perf_counter() - started})
    processes = [
        {
            "library": name,
            "seconds": asdict(spread([each["seconds"] for each in each_seed])),
            **{key: statistics.mean(each[key] for each in each_seed) for key in ("float_mse", "qat_mse", "int8_mse")},
            "bytes": max(each["bytes"] for each in each_seed),
        }
        for name, each_seed in found.items()
    ]
    return {"processes": processes, "seeds": len(_SEEDS), "keras_epochs": _EPOCHS, "absent": absent}


def _table(found: dict[str, Any]) -> Sequence[str]:
    by = {each["library"]: each for each in found["processes"]}
    rows = [
        [
            name,
            cell(each["seconds"], ".1f"),
            *(f"{each[key]:.3f}" for key in ("float_mse", "qat_mse", "int8_mse")),
            f"{each['bytes']:,}",
        ]
        for name, each in by.items()
    ]
    head = ["fuel, synthetic table", "seconds", "MSE, float", "MSE, QAT network", "MSE, int8 in TFLM", "bytes"]
    return [*markdown_table(head, rows), *absent_lines(found)]


PIPELINE = Suite("pipeline", __doc__, _measure, _table)
