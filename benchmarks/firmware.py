"""Plain C on emulated microcontrollers: cycles or instructions, flash and RAM, every output checked on the way."""

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
from export import machine_profile
from export.c_network import c_network
from export.integers import integer_graph
from export.ir import Graph
from firmware.emulation import MACHINES, Machine, available
from qtorch.errors import ParityError
from qtorch.lightning.checkpoint import load_run
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from recipes.gesture_qat.data import GestureData
from recipes.gesture_qat.model import Gesture
from recipes.mlperf_tiny import DSCNN, Autoencoder, MobileNetV1, ResNet8
from recipes.pipeline import main as run_recipe
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine

__all__ = ["lines", "multiply_accumulates"]

_RECIPES: tuple[tuple[str, Any, Any], ...] = (
    ("sine", Sine, SineData),
    ("fuel", FuelConsumption, FuelData),
    ("gesture", Gesture, GestureData),
)
_MLPERF: tuple[tuple[type[nn.Module], tuple[int, ...]], ...] = (
    (DSCNN, (1, 49, 10)),
    (MobileNetV1, (3, 96, 96)),
    (ResNet8, (3, 32, 32)),
    (Autoencoder, (640,)),
)
#: Where networks as large as those run, and how many samples of each.
_LARGE, _FEW = ("cortex_m4", "cortex_m55"), 4
_SAMPLES = 256


#: Ways to build a network for a machine: label, and whether speed may cost flash.
_BUILDS = (("", False), ("speed", True))


def multiply_accumulates(graph: Graph) -> int:
    """Products that the layers with weights sum up, those with padding included."""
    return sum(machine_profile.multiply_accumulates(graph, node) for node in graph.nodes)


def lines() -> Iterator[str]:
    """One line for each network, machine and build; a machine whose tools are absent says which."""
    yield "Every output equal to the reference's; cost of one inference, bytes of the smallest program, of its stack."
    yield ""
    machines = [machine for machine in MACHINES.values() if machine.unit is not None]
    for machine in machines:
        absent = available(machine)
        if absent:
            yield absent
    here = [machine for machine in machines if available(machine) is None]
    for label, graph in _trained():
        for machine in here:
            yield from _costs(label, graph, machine, _SAMPLES)
    yield ""
    for network, shape in _MLPERF:
        graph = _calibrated(network, shape)
        products = multiply_accumulates(graph)
        plain = c_network(graph)
        peak, bound = plain.plan.peak, plain.bound
        yield (
            f"{network.__name__}: {products:,} products, {products // 2:,} instructions at two a multiplication "
            f"(SMLAD); working memory {peak:,} bytes, at least {bound:,} are needed"
        )
        for machine in here:
            if machine.name in _LARGE:
                yield from _costs(network.__name__, graph, machine, _FEW)


def _costs(label: str, graph: Graph, machine: Machine, samples: int) -> Iterator[str]:
    seen: set[tuple[float, int]] = set()
    for build, speed in _BUILDS:
        try:
            found = machine_profile.replayed(graph, machine, samples, speed)
        except (RuntimeError, ParityError) as error:
            yield f"{label:12}{machine.name:13}{build:6} {str(error).splitlines()[0]}"
            continue
        if (found.median, found.flash) in seen:
            continue
        seen.add((found.median, found.flash))
        network = c_network(graph, machine.cpu, speed)
        # SMLAD, Cortex-M4's widest multiplication, forms two products.
        bound = f", {2 * found.per_mac:.3f} of SMLAD's bound" if machine.name == "cortex_m4" and found.per_mac else ""
        yield (
            f"{label:12}{machine.name:13}{build:6}{found.median:14,.0f} {found.unit:13}"
            f"(at most {found.most:,}){found.per_mac or 0:6.2f} per product{bound} "
            f"{found.flash:8,} flash {found.ram:7,} RAM "
            f"{found.stack:5} stack  peak {network.plan.peak / max(1, network.bound):.3f} of the least"
        )


def _trained() -> Iterator[tuple[str, Graph]]:
    """The recipes' networks, trained as their commands do."""
    for name, module, data in _RECIPES:
        config = Path(__file__).parents[1] / "recipes" / f"{name}_qat" / "config.yaml"
        with tempfile.TemporaryDirectory() as folder:
            quiet = ["--trainer.enable_progress_bar", "false", "--out", folder]
            with contextlib.redirect_stdout(io.StringIO()):
                if run_recipe(module, data, config, quiet):
                    raise RuntimeError(f"the {name} recipe failed")
            network = load_run(Path(folder) / f"{name}.ckpt").module.net
            yield name, integer_graph(network)  # type: ignore[arg-type]


def _calibrated(network: type[nn.Module], shape: tuple[int, ...]) -> Graph:
    """Weights normally distributed, as trained ones nearly are: PyTorch's uniform ones have larger sums.

    Kernels that hold several sums in one register clear it less often where these are small.
    """
    torch.manual_seed(0)
    x, net = torch.randn(16, *shape), network()
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
    net(x)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)
