"""The recipes' networks in plain C on emulated hardware: every output of at least 256 inputs is TFLite Micro's.

Those of images take seconds for a few inputs: 12 of them here, 256 with ``pytest -m sweep``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.compiled import COMPILE, run_c
from export.c.network import c_network
from export.c.source import c_source
from export.device import headers
from export.engines import TFLM
from export.graph.build import integer_graph
from export.graph.encoding import codes_of
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.tflite.writer import write_tflite
from firmware.emulation import (
    MACHINES,
    Machine,
    Options,
    available,
    build_sketch,
    replay,
    run_sketch,
    sketch_available,
    sketch_source,
)
from recipes.fuel_qat.data import FuelData
from recipes.fuel_qat.model import FuelConsumption
from recipes.gesture_qat.data import GestureData
from recipes.gesture_qat.model import Gesture
from recipes.mlperf_tiny import DSCNN, ResNet8
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine
from tests.conftest import in_turn

SAMPLES = 256
#: Of a network of images: so many show every kernel, and take seconds rather than minutes.
FEW = 12
RECIPES: dict[str, tuple[Any, Any]] = {
    "sine": (Sine, SineData),
    "fuel": (FuelConsumption, FuelData),
    "gesture": (Gesture, GestureData),
}
IMAGES: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "dscnn": (DSCNN, (1, 49, 10)),
    "resnet8": (ResNet8, (3, 32, 32)),
}


@dataclass(frozen=True)
class Case:
    """A graph, input codes, and what TFLite Micro says to them."""

    graph: Graph
    codes: np.ndarray
    expected: np.ndarray


def case_of(graph: Graph, codes: np.ndarray) -> Case:
    (expected,) = TFLM.run(write_tflite(graph), (codes,))
    np.testing.assert_array_equal(expected, interpret(graph, (codes,))[graph.outputs[0]])
    return Case(graph, codes, expected)


@cache
def recipe_case(name: str) -> Case:
    """A recipe's network, trained in float for a moment and calibrated; the data's own inputs beside random ones."""
    torch.manual_seed(0)
    module, data = (build() for build in RECIPES[name])
    x, y = data.arrays.train
    optimizer = torch.optim.Adam(module.net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        found = module.net(x)
        error = nn.functional.nll_loss(torch.log(found + 1e-6), y) if name == "gesture" else (found - y).square().mean()
        error.backward()
        optimizer.step()
    qat = qtorch.prepare(module.net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    drawn = corner_codes(graph, SAMPLES)[0]
    if name == "sine":
        return case_of(graph, drawn)
    (seen,) = codes_of(graph, data.arrays.test[0])
    return case_of(graph, np.concatenate([seen[: SAMPLES // 2], drawn[-SAMPLES // 2 :], drawn[:8]]))


@cache
def image_case(name: str, samples: int) -> Case:
    network, shape = IMAGES[name]
    torch.manual_seed(0)
    x, net = torch.randn(16, *shape), network()
    for _ in range(20):
        net(x)
    *_, last = (layer for layer in net.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        last.weight *= 20  # an untrained network says the same of everything
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    return case_of(graph, corner_codes(graph, samples)[0][-samples:])


#: What machines computed, by machine, C, and codes: what is asked for speed is often the same C as for size.
_REPLAYED: dict[tuple[str, tuple[tuple[str, str], ...], bytes], np.ndarray] = {}


def run(case: Case, machine: Machine, speed: bool, samples: int = SAMPLES) -> np.ndarray:
    """The outputs that a machine computed; all must agree."""
    absent = available(machine)
    if absent:
        pytest.skip(absent)
    files = c_source("net", c_network(case.graph, machine.cpu, "speed" if speed else "size")).files
    key = (machine.name, tuple(sorted(files.items())), case.codes.tobytes())
    if key not in _REPLAYED:
        count = len(case.codes)
        found = replay(
            machine, files, "net", case.codes.reshape(count, -1), case.expected.reshape(count, -1), Options(seconds=300)
        )
        assert found.mismatches == 0, found.first
        assert found.samples >= samples
        _REPLAYED[key] = found.outputs
    return _REPLAYED[key]


@pytest.mark.tflm
@pytest.mark.parametrize("speed", [False, True], ids=["size", "speed"])
@pytest.mark.parametrize(("recipe", "machine"), in_turn(RECIPES, MACHINES, every=2))
def test_a_recipe_is_exact_on_a_machine(recipe: str, machine: str, speed: bool) -> None:
    outputs = run(recipe_case(recipe), MACHINES[machine], speed)
    assert len(np.unique(outputs)) > 10, "outputs that are alike show nothing"


@pytest.mark.tflm
@pytest.mark.parametrize("speed", [False, True], ids=["size", "speed"])
@pytest.mark.parametrize("machine", ["cortex_m4", "cortex_m55"])
@pytest.mark.parametrize("network", IMAGES)
@pytest.mark.parametrize("samples", [FEW, pytest.param(SAMPLES, marks=pytest.mark.sweep)])
def test_an_image_network_is_exact_on_a_machine(samples: int, network: str, machine: str, speed: bool) -> None:
    outputs = run(image_case(network, samples), MACHINES[machine], speed, samples)
    assert len(np.unique(outputs)) > 10, "outputs that are alike show nothing"


@pytest.mark.avr
@pytest.mark.tflm
@pytest.mark.parametrize("recipe", RECIPES)
def test_an_arduino_sketch_says_that_a_recipe_is_exact(recipe: str, tmp_path: Path) -> None:
    absent = sketch_available()
    if absent:
        pytest.skip(absent)
    case = recipe_case(recipe)
    count, picked = len(case.codes), slice(0, 24)
    files = dict(c_source("net", c_network(case.graph, "avr")).files)
    arrays = [array.reshape(count, -1)[picked] for array in (case.codes, case.expected)]
    files |= {"net_test_vectors.h": headers.test_vectors("net", *arrays), "net.ino": sketch_source("net")}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    assert "24 of 24 vectors agree" in run_sketch(build_sketch(tmp_path))


@pytest.mark.tflm
@pytest.mark.parametrize("cpu", ["host", "cortex-m4"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_exact_by_clang(recipe: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undefined behaviour ends the process."""
    if shutil.which("clang") is None:
        pytest.skip("clang not found; apt-get install clang")
    monkeypatch.setenv("CC", "clang")
    case = recipe_case(recipe)
    files = c_source("net", c_network(case.graph, cpu, optimize="speed")).files
    options = (*COMPILE, "-fsanitize=undefined", "-fsanitize-trap=undefined")
    (found,) = run_c("net", files, case.graph, (case.codes,), options)
    np.testing.assert_array_equal(found, case.expected)


@pytest.mark.tflm
def test_a_wrong_kernel_fails_on_a_machine() -> None:
    """A code that is one too high on its way out is seen."""
    machine = MACHINES["host"]
    if available(machine):
        pytest.skip(str(available(machine)))
    case = recipe_case("fuel")
    files = dict(c_source("net", c_network(case.graph)).files)
    wrong = files["net_model.c"].replace("(int8_t)q_clamp(code, low", "(int8_t)q_clamp(code + 1, low")
    assert wrong != files["net_model.c"]
    count = len(case.codes)
    found = replay(machine, files | {"net_model.c": wrong}, "net", case.codes, case.expected.reshape(count, -1))
    assert found.mismatches > 0
