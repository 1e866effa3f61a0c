"""Models in TFLite Micro on emulated Cortex-M: with a stand-in for the library, and for real where TFLM_ROOT is set."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import qtorch
from export.device import headers
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.parity.outputs import corner_codes
from export.tflite.writer import write_tflite
from firmware.emulation import (
    DidNotBuild,
    Library,
    available,
    interpreted,
    libraries,
    optimization,
)
from tests.tflm_projects import STAND_IN, VECTORS, require, table, wrong_table

FOLDERS = [
    "cortex_m_generic_cortex-m0_default_gcc",
    "cortex_m_generic_cortex-m3_default_gcc",
    "cortex_m_generic_cortex-m4+fp_release_gcc",
    "cortex_m_generic_cortex-m4_release_with_logs_cmsis_nn_gcc",
    "cortex_m_generic_cortex-m55_release_cmsis_nn_gcc",
    # Neither a processor that is emulated here nor a Cortex-M.
    "cortex_m_generic_cortex-m85_release_gcc",
    "linux_x86_64_default_gcc",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Looks like TFLite Micro's source tree; its libraries are archives without members."""
    shutil.copytree(STAND_IN / "tensorflow", tmp_path / "tflm" / "tensorflow")
    for folder in FOLDERS:
        file = tmp_path / "tflm" / "gen" / folder / "lib" / "libtensorflow-microlite.a"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"!<arch>\n")
    return tmp_path / "tflm"


def library(root: Path, arch: str) -> Library:
    found = next(each for each in libraries(root) if each.arch == arch)
    reason = available(found.machine)
    if reason is not None:
        pytest.skip(reason)
    require("arm-none-eabi-g++")
    return found


def sources(model: bytes) -> dict[str, str]:
    resolver = headers.op_resolver("m", ("AddFullyConnected", "AddTanh"))
    return {**headers.model_data("m", model), "m_op_resolver.h": resolver}


def test_libraries_are_known_by_their_folders(root: Path) -> None:
    found = [(each.machine.name, each.arch, each.build, each.kernels) for each in libraries(root)]
    assert found == [
        ("cortex_m0", "cortex-m0", "default", "reference"),
        ("cortex_m3", "cortex-m3", "default", "reference"),
        ("cortex_m4", "cortex-m4+fp", "release", "reference"),
        ("cortex_m4", "cortex-m4", "release_with_logs", "cmsis_nn"),
        ("cortex_m55", "cortex-m55", "release", "cmsis_nn"),
    ]
    assert "-mcpu=cortex-m0" in libraries(root)[0].machine.flags
    flags = [[flag for flag in each.compile_flags if flag.startswith("-D")] for each in libraries(root)[1:]]
    assert flags[0] == ["-DTF_LITE_STATIC_MEMORY"]
    assert flags[1] == ["-DTF_LITE_STATIC_MEMORY", "-DNDEBUG", "-DTF_LITE_STRIP_ERROR_STRINGS"]
    assert flags[2] == ["-DTF_LITE_STATIC_MEMORY", "-DCMSIS_NN", "-DNDEBUG"]
    assert libraries(root / "nothing") == ()


def test_optimization_is_the_makefile_s(root: Path) -> None:
    assert optimization(root) == {}
    makefile = root / "tensorflow/lite/micro/tools/make/Makefile"
    makefile.parent.mkdir(parents=True)
    makefile.write_text(
        "  CORE_OPTIMIZATION_LEVEL := -Oz\nelse\n  CORE_OPTIMIZATION_LEVEL := -Os\nendif\n"
        "KERNEL_OPTIMIZATION_LEVEL := -O2\nTHIRD_PARTY_KERNEL_OPTIMIZATION_LEVEL := -O3\nOPTIMIZATION_LEVEL :=\n"
    )
    assert optimization(root) == {"core": "-Os", "kernel": "-O2", "third_party_kernel": "-O3"}


@pytest.mark.qemu
@pytest.mark.parametrize("arch", ["cortex-m3", "cortex-m4", "cortex-m4+fp", "cortex-m55"])
def test_an_interpreted_model_is_counted_and_weighed(root: Path, arch: str) -> None:
    """The stand-in needs an arena of 50 bytes, and looks its outputs up."""
    found = interpreted(library(root, arch), sources(table(VECTORS[1], arena=50)), "m", *VECTORS)
    assert found.arena == 64
    made = found.replay
    assert (made.samples, made.mismatches, made.first) == (3, 0, None)
    assert made.cost is not None
    assert made.cost.unit == "instructions"
    # The third vector is looked for longest.
    assert 20 < made.cost.min < made.cost.max < 1000
    assert made.stack
    assert made.firmware is not None
    assert made.firmware.ram >= 64
    larger = interpreted(library(root, arch), sources(table(VECTORS[1], arena=1000)), "m", *VECTORS)
    assert larger.arena == 1008
    assert larger.replay.firmware is not None
    assert larger.replay.firmware.ram - made.firmware.ram == 1008 - 64
    assert larger.replay.cost == made.cost


@pytest.mark.qemu
def test_an_inference_is_counted_without_the_set_up(root: Path) -> None:
    """The same sample takes the same, the first time as the second."""
    twice = tuple(array[:1].repeat(2, 0) for array in VECTORS)
    found = interpreted(library(root, "cortex-m4+fp"), sources(table(VECTORS[1], arena=50)), "m", *twice)
    assert found.replay.cost is not None
    assert found.replay.cost.min == found.replay.cost.max


@pytest.mark.qemu
def test_a_wrong_code_of_an_interpreted_model_is_found(root: Path) -> None:
    found = interpreted(library(root, "cortex-m4+fp"), sources(wrong_table()), "m", *VECTORS).replay
    assert found.mismatches == 1
    assert found.first is not None
    assert (found.first.sample, found.first.output, found.first.expected, found.first.got) == (2, 0, 3, 4)


@pytest.mark.qemu
def test_a_model_that_can_t_be_set_up_says_so(root: Path) -> None:
    with pytest.raises(
        DidNotBuild, match=r"cortex_m3: m: expected an arena of 262,144 bytes to be enough, got a refus"
    ):
        interpreted(library(root, "cortex-m3"), sources(table(VECTORS[1], version=2)), "m", *VECTORS)
    with pytest.raises(ValueError, match=r"replay.expected: expected int8 \[2, >= 1\], got int8 \[3, 1\]"):
        interpreted(library(root, "cortex-m3"), sources(table(VECTORS[1])), "m", VECTORS[0][:2], VECTORS[1])


@pytest.mark.qemu
def test_the_real_interpreter_computes_the_reference_s_codes() -> None:
    root = os.environ.get("TFLM_ROOT")
    found = libraries(Path(root).resolve()) if root else ()
    if not found:
        pytest.skip("TFLM_ROOT has no library for a Cortex-M; set it to TFLite Micro's source tree with one built")
    torch.manual_seed(0)
    x = torch.rand(64, 3)
    network = qtorch.prepare(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), x[:1])
    qtorch.calibrate(network, [x])
    graph = integer_graph(network)
    codes = corner_codes(graph, 20)[0]
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    files = {
        **headers.model_data("m", write_tflite(graph)),
        "m_op_resolver.h": headers.op_resolver("m", ("AddFullyConnected",)),
    }
    for each in found:
        assert available(each.machine) is None
        made = interpreted(each, files, "m", codes, expected)
        assert made.replay.first is None, each
        assert made.replay.firmware is not None
        assert made.replay.firmware.ram > made.arena > 300
