"""The arena of each kernel library and processor: against what TFLite Micro takes, and as compilers see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from benchmarks.editions.exported import Network, every_network
from benchmarks.emulated_networks import calibrated
from benchmarks.mlperf_networks import REFERENCES
from export.arena.figures import ArenaFigure, arena_figures
from export.arena.plan import Buffer, planned
from export.device import headers
from export.faults.avoided import avoided
from export.graph.build import integer_graph
from export.tflite.writer import tflite_cell, write_tflite
from firmware.emulation import Library, arena_probe, libraries, smallest_arena
from firmware.emulation.build import Options
from qtorch.editions.known import edition
from recipes.fuel_qat.model import FuelConsumption
from recipes.gesture_qat.model import Gesture
from recipes.sine_qat.model import Sine
from tests.tflm_projects import require

_RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
#: Layers of the recipes' networks, on which the figures depend; weights do not matter.
_RECIPES = {"sine": Sine, "fuel": FuelConsumption, "gesture": Gesture}
_INSTRUCTIONS = {"cortex_m3": "", "cortex_m4": "defined(__ARM_FEATURE_DSP)", "cortex_m55": "defined(__ARM_FEATURE_MVE)"}


def chosen(figures: tuple[ArenaFigure, ...], library: str, machine: str) -> int:
    return next(
        each.arena_bytes
        for each in figures
        if each.library == library and (not library or each.condition == _INSTRUCTIONS.get(machine, ""))
    )


@pytest.mark.parametrize("label", ["DS-CNN", "MobileNetV1 0.25", "ResNet-8"])
def test_no_figure_is_below_what_was_measured_or_wastes(label: str) -> None:
    """Measured in QEMU with TFLite Micro's own CMSIS-NN, by trying arenas for MLPerf Tiny's file of the same layers."""
    figures = arena_figures(write_tflite(calibrated(next(each for each in REFERENCES if each.label == label))))
    files = json.loads((_RESULTS / "files.json").read_text())["files"]
    (measured,) = (each["tflm"] for each in files if each["file"].endswith(f", {label}"))
    assert set(measured) == set(_INSTRUCTIONS)
    for machine, program in measured.items():
        assert program["kernels"] == "cmsis_nn"
        assert program["arena"] <= chosen(figures, "CMSIS_NN", machine) <= 1.02 * program["arena"], machine


@pytest.mark.parametrize("label", _RECIPES)
def test_no_figure_of_a_small_network_is_below_what_was_measured_or_wastes(label: str) -> None:
    """Likewise, and with the reference kernels too; of so little, what is kept free is told in bytes."""
    torch.manual_seed(0)
    net = _RECIPES[label]().net
    x = torch.randn(64, next(each for each in net.modules() if isinstance(each, nn.Linear)).in_features)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    figures = arena_figures(write_tflite(integer_graph(qat)))
    found = json.loads((_RESULTS / "interpreter.json").read_text())["programs"]
    programs = [p for p in found if p["network"] == label and "arena" in p]
    assert {(p["machine"], "CMSIS" in p["program"]) for p in programs} == {
        (machine, library) for machine in ("cortex_m0", *_INSTRUCTIONS) for library in (True, False)
    }
    for program in programs:
        figure = chosen(figures, "CMSIS_NN" if "CMSIS" in program["program"] else "", program["machine"])
        assert program["arena"] <= figure <= program["arena"] + 320, program


def test_the_plan_takes_gaps_as_they_come() -> None:
    # By size, and of equal ones the last first: 64 at 0, 48 behind it, and 16 in the gap that time leaves.
    assert planned([]) == 0
    assert planned([Buffer(64, 0, 1), Buffer(48, 1, 2), Buffer(16, 2, 3)]) == 112
    assert planned([Buffer(64, 0, 1), Buffer(48, 1, 2), Buffer(64, 2, 3)]) == 112
    # Greedy, not best: the two of 32 lie at 0 and 32 because they meet; the 16 that meets the second alone goes to 0.
    assert planned([Buffer(32, 0, 1), Buffer(32, 1, 2), Buffer(16, 2, 2)]) == 64
    assert planned([Buffer(32, 0, 2), Buffer(32, 1, 3), Buffer(16, 2, 3)]) == 80


def test_no_two_buffers_of_a_plan_can_do_with_less_than_their_sum() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        starts = rng.integers(0, 12, 10)
        buffers = [
            Buffer(int(s) * 16, int(at), int(at + n))
            for s, at, n in zip(rng.integers(1, 9, 10), starts, rng.integers(0, 5, 10), strict=True)
        ]
        alive = max(sum(each.size for each in buffers if each.first <= t <= each.last) for t in range(17))
        assert alive <= planned(buffers) <= sum(each.size for each in buffers)


FIGURES = (
    ArenaFigure("", "", "Reference", 160, True),
    ArenaFigure("CMSIS_NN", "defined(__ARM_FEATURE_MVE)", "Vectors", 480),
    ArenaFigure("CMSIS_NN", "defined(__ARM_FEATURE_DSP)", "DSP", 320, True),
    ArenaFigure("CMSIS_NN", "", "Others", 144, True),
    ArenaFigure("ESP_NN", "defined(CONFIG_IDF_TARGET_ESP32S3)", "S3", 640, True),
    ArenaFigure("ESP_NN", "defined(CONFIG_IDF_TARGET_ESP32P4)", "P4", 112),
    ArenaFigure("ESP_NN", "", "Other ESP32", 176),
)


def bytes_of(compiler: str, *options: str, constant: str = "m_arena_bytes") -> int:
    require(compiler)
    text = headers.arena("m", 1600, 64, "0.dev1", FIGURES) + f"\nint m_is = {constant} + 100;\n"
    done = subprocess.run(
        [compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", *options, "-S", "-xc", "-", "-o", "-"],
        input=text, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.search(r"m_is:\s+\.(?:word|long)\s+(\d+)", done.stdout)
    assert found
    return int(found[1]) - 100


@pytest.mark.parametrize(
    ("cpu", "library", "expected"),
    [
        ("cortex-m3", "CMSIS_NN", 1),
        ("cortex-m4+nofp", "CMSIS_NN", 1),
        ("cortex-m55", "CMSIS_NN", 0),
        ("cortex-m55", "TFLM_REFERENCE_KERNELS", 1),
        # Nobody says which: kept by all kernels, or not at all.
        ("cortex-m4+nofp", "OTHER", 1),
        ("cortex-m55", "OTHER", 0),
        ("cortex-m3", "M_ARENA_BYTES=96", 0),
    ],
)
def test_the_compiler_knows_whether_inputs_are_kept(cpu: str, library: str, expected: int) -> None:
    options = (f"-mcpu={cpu}", "-mthumb", f"-mfloat-abi={'hard' if cpu == 'cortex-m55' else 'soft'}", f"-D{library}")
    assert bytes_of("arm-none-eabi-gcc", *options, constant="m_keeps_inputs") == expected


@pytest.mark.parametrize(
    ("cpu", "library", "expected"),
    [
        ("cortex-m0", "CMSIS_NN", 144),
        ("cortex-m3", "CMSIS_NN", 144),
        ("cortex-m4+nofp", "CMSIS_NN", 320),
        ("cortex-m4+nofp", "CONFIG_TENSORFLOW_LITE_MICRO_CMSIS_NN_KERNELS", 320),
        ("cortex-m33+nofp", "CMSIS_NN", 320),
        ("cortex-m55", "CMSIS_NN", 480),
        ("cortex-m3", "TFLM_REFERENCE_KERNELS", 160),
        ("cortex-m55", "TFLM_REFERENCE_KERNELS", 160),
        # Nobody says which: the largest.
        ("cortex-m3", "OTHER", 160),
        ("cortex-m4+nofp", "OTHER", 320),
        ("cortex-m55", "OTHER", 480),
        ("cortex-m55", "M_ARENA_BYTES=96", 96),
    ],
)
def test_the_compiler_takes_the_figure_of_its_build(cpu: str, library: str, expected: int) -> None:
    float_abi = "hard" if cpu == "cortex-m55" else "soft"
    assert (
        bytes_of("arm-none-eabi-gcc", f"-mcpu={cpu}", "-mthumb", f"-mfloat-abi={float_abi}", f"-D{library}") == expected
    )


@pytest.mark.parametrize(
    ("defined", "expected"),
    [
        (("ESP_NN", "CONFIG_IDF_TARGET_ESP32S3"), 640),
        (("ESP_NN", "CONFIG_IDF_TARGET_ESP32P4"), 112),
        (("ESP_NN", "CONFIG_IDF_TARGET_ESP32C3"), 176),
        (("CONFIG_IDF_TARGET_ESP32S3", "TFLM_REFERENCE_KERNELS"), 160),
        # Nobody says which kernels: the largest of this processor.
        (("CONFIG_IDF_TARGET_ESP32S3",), 640),
        (("CONFIG_IDF_TARGET_ESP32P4",), 160),
        (("CONFIG_IDF_TARGET_ESP32C3",), 176),
    ],
)
def test_the_compiler_takes_the_figure_of_espressifs_processor(defined: tuple[str, ...], expected: int) -> None:
    options = (f"-D{each}" for each in defined)
    assert bytes_of("riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32", "-ffreestanding", *options) == expected


def test_espressifs_build_system_says_which_processor(tmp_path: Path) -> None:
    (tmp_path / "sdkconfig.h").write_text("#define CONFIG_IDF_TARGET_ESP32S3 1\n")
    flags = ("-march=rv32imc", "-mabi=ilp32", "-ffreestanding", "-DESP_PLATFORM", f"-I{tmp_path}")
    assert bytes_of("riscv64-unknown-elf-gcc", *flags) == 640


def test_a_machine_of_64_bits_takes_what_was_measured() -> None:
    require("g++")
    assert bytes_of("gcc") == 1600
    assert bytes_of("gcc", "-DCMSIS_NN") == 1600


@cache
def networks() -> dict[str, Network]:
    """Every recipe's in three configurations, and MLPerf Tiny's."""
    return {each.label: each for each in every_network(0)}


def on_the_board(found: Library) -> tuple[str, str]:
    """Edition and processor of a build, as exports name them."""
    return "tflm" if found.kernels == "reference" else "tflm-cmsis-nn", found.machine.name.replace("_", "-")


#: Of 25: a recipe's, DS-CNN's and the autoencoder's; the others where there is more time.
_SOME = (0, 21, 24)


@pytest.mark.tflm
@pytest.mark.parametrize("which", [pytest.param(i, marks=[] if i in _SOME else [pytest.mark.sweep]) for i in range(25)])
def test_the_real_tflite_micro_allocates_with_the_headers_figure_and_not_with_less_than_it_uses(which: int) -> None:
    root = os.environ.get("TFLM_ROOT")
    found = libraries(Path(root)) if root else ()
    if not found:
        pytest.skip("TFLM_ROOT has no library for a Cortex-M; set it to TFLite Micro's source tree with one built")
    require("arm-none-eabi-g++", "qemu-system-arm")
    assert len(networks()) == 25
    label, network = list(networks().items())[which]
    for library in found:
        of, cpu = on_the_board(library)
        exported = avoided(network.graph, edition(of), cpu)
        if exported.left:
            continue
        graph, model = exported.graph, write_tflite(exported.graph)
        methods = tuple(dict.fromkeys(m for node in graph.nodes for m in tflite_cell(node.op).registered(node.attrs)))
        sources = {**headers.model_data("net", model), "net_op_resolver.h": headers.op_resolver("net", methods)}
        ends = [graph.values[names[0]] for names in (graph.inputs, graph.outputs)]
        sizes = [each.elements * np.dtype(each.dtype).itemsize for each in ends]
        kernels = "" if library.kernels == "reference" else "CMSIS_NN"
        figure = chosen(arena_figures(model, edition(of)), kernels, library.machine.name)
        with arena_probe(library, sources, "net", (sizes[0], sizes[1]), Options(seconds=300)) as allocates:
            assert allocates(figure), (label, library)
            used = smallest_arena(allocates, label, figure)
            assert allocates(used), (label, library)
            assert not allocates(used - 64), (label, library)
        # Of so little, what is kept free is told in bytes.
        assert figure <= max(used + 512, 1.1 * used), (label, library, used)
