"""The networks that are measured on emulated microcontrollers."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import qtorch
from benchmarks.mlperf_networks import Reference
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.pipeline import main as run_recipe
from qtorch.lightning.checkpoint import load_run
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from recipes.gesture_qat.data import GestureData
from recipes.gesture_qat.model import Gesture
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine

__all__ = ["calibrated", "trained"]

_RECIPES: tuple[tuple[str, Any, Any], ...] = (
    ("sine", Sine, SineData),
    ("fuel", FuelConsumption, FuelData),
    ("gesture", Gesture, GestureData),
)


def trained() -> Iterator[tuple[str, Graph]]:
    """The recipes' networks by name, trained as their commands do."""
    for name, module, data in _RECIPES:
        config = Path(__file__).parents[1] / "recipes" / f"{name}_qat" / "config.yaml"
        with tempfile.TemporaryDirectory() as folder:
            quiet = ["--trainer.enable_progress_bar", "false", "--out", folder]
            with contextlib.redirect_stdout(io.StringIO()):
                if run_recipe(module, data, config, quiet):
                    raise RuntimeError(f"the {name} recipe failed")
            network = load_run(Path(folder) / f"{name}.ckpt").module.net
            yield name, integer_graph(network)  # type: ignore[arg-type]


def calibrated(reference: Reference, normal: bool = True) -> Graph:
    """Weights normally distributed, as trained ones nearly are; else PyTorch's uniform ones, which have larger sums.

    Kernels that hold several sums in one register clear it less often where these are small.
    """
    torch.manual_seed(0)
    x, net = torch.randn(16, *reference.shape), reference.network()
    for layer in net.modules():
        if normal and isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
    net(x)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)
