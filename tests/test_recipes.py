"""Every recipe's every configuration: parses, trains, exports, and is exact."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path

import pytest

import recipes
from export.pipeline import main
from qtorch.lightning.data import ArrayDataModule
from qtorch.lightning.task import Task
from tests.conftest import onnx_available

CONFIGS = sorted(Path(next(iter(recipes.__path__))).glob("*/config*.yaml"))

#: What makes generated data small, where a data module has such an argument.
SMALL = {"rows": 100, "samples": 100, "recordings": 30, "clips": 16}

pytestmark = [pytest.mark.tflm, pytest.mark.usefixtures("one_thread")]


def only(package: str, module: str, base: type) -> type:
    found = import_module(f"recipes.{package}.{module}")
    (kind,) = [
        value
        for value in vars(found).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == found.__name__
    ]
    return kind


def test_there_are_configurations() -> None:
    packages = {config.parent.name for config in CONFIGS}
    assert packages == {"fuel_qat", "sine_qat", "gesture_qat", "digits_qat", "keyword_qat", "anomaly_qat"}
    for package in packages:
        assert (CONFIGS[0].parents[1] / package / "__main__.py").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recipe_trains_and_exports(config: Path, tmp_path: Path) -> None:
    data, task = (only(config.parent.name, name, base) for name, base in (("data", ArrayDataModule), ("model", Task)))
    accepted = inspect.signature(data).parameters
    small = [part for name, n in SMALL.items() if name in accepted for part in (f"--data.{name}", str(n))]
    arguments = ["--trainer.max_epochs", "4", "--trainer.enable_progress_bar", "false"]
    out, second = tmp_path / "out", onnx_available()
    arguments += ["--export.onnx", str(second).lower()]
    assert main(task, data, config, [*arguments, *small, "--out", str(out)]) == 0
    parity = json.loads((out / "parity.json").read_text())
    assert {"tflm", "qat_network"} <= set(parity["judges"])
    assert parity["engines"]["qat_network"]["mismatches"] == parity["engines"]["tflm"]["mismatches"] == 0
    assert ("onnxruntime" in parity["engines"]) == second
    test = json.loads((out / "metrics.json").read_text())["test"]
    assert {"float", "ptq_int8", "qat_network", "qat_int8"} <= set(test)
    assert set(test["qat_int8"]) >= set(task.columns)
