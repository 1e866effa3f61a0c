"""What the tests of firmware projects share: an export as files, projects of it, and how they are built."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from export.boards import BOARDS
from export.c_language.names import c_identifier
from export.device import headers
from export.device.firmware_project import firmware_project
from export.device.layer_checks import layer_checks_header
from export.interface.tensor_layout import TensorLayout
from qtorch.features import Feature, Interface
from qtorch.numbers.qparams import QParams

STAND_IN = Path(__file__).parent / "tflm_stand_in"
TFLM_BOARDS = [name for name, board in BOARDS.items() if board.tflm]
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
VECTORS = (np.array([[-128, 127], [0, 1], [5, -6]], np.int8), np.array([[1], [-2], [3]], np.int8))
CHECKS = np.array([[zlib.crc32(row.tobytes())] for row in VECTORS[1]], np.uint32)
#: Real = (code - zero point) / 4, and 10 on top for the one feature with an offset.
GRID = QParams((0.25,), (-4,))
INTERFACE = Interface((Feature("a", "kg"), Feature("b", offset=10.0)), (Feature("c"),))
APT = {
    "g++": "g++",
    "clang++": "clang",
    "cmake": "cmake make",
    "arm-none-eabi-g++": "gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib",
    "qemu-system-arm": "qemu-system-arm",
}


def require(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed; install it (Debian: apt-get install {APT[tool]}) to run this test")


def table(outputs: np.ndarray, arena: int = 48, version: int = 3, inputs: np.ndarray = VECTORS[0]) -> bytes:
    """A model of the stand-in: see its README."""
    head = bytes([version, arena % 256, arena // 256, len(inputs), inputs.shape[1], outputs.shape[1]])
    return head + b"".join(i.tobytes() + o.tobytes() for i, o in zip(inputs, outputs, strict=True))


def bundle_files(name: str = "m", model: bytes | None = None) -> dict[str, bytes]:
    """What an export of a small network with two inputs and one output leaves."""
    symbol = c_identifier(name)
    texts = {
        **headers.model_data(name, table(VECTORS[1]) if model is None else model),
        f"{symbol}_quantization.h": headers.quantization(name, INTERFACE, (GRID,), (GRID,)),
        f"{symbol}_op_resolver.h": headers.op_resolver(name, ("AddFullyConnected", "AddTanh")),
        f"{symbol}_arena.h": headers.arena(name, 48, 64, "0.dev1"),
        f"{symbol}_layer_checks.h": layer_checks_header(name, (["FULLY_CONNECTED"], CHECKS)),
        f"{symbol}_test_vectors.h": headers.test_vectors(name, *VECTORS),
    }
    return {file: text.encode() for file, text in texts.items()}


def write_project(
    folder: Path, board: str, name: str = "m", model: bytes | None = None,
    files: Mapping[str, bytes] | None = None, layouts: Sequence[TensorLayout] = (),
) -> Path:  # fmt: skip
    """The project of ``files``, of :func:`bundle_files` without any."""
    files = bundle_files(name, model) if files is None else files
    for path, content in firmware_project(name, files, BOARDS[board], layouts).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def build(
    project: Path, platform: str = "", compiler: str = "g++", standard: str = "c++17", defines: tuple[str, ...] = ()
) -> Path:
    """All sources of a project, under strict warnings, with stand-ins for TFLite Micro and the framework."""
    require(compiler)
    sources = [path for path in sorted(project.rglob("*.cpp")) if "cortex_m" not in path.parts]
    includes = [f"-I{folder}" for folder in sorted({path.parent for path in project.rglob("*.h")})]
    if platform:
        includes.append(f"-I{STAND_IN / 'platforms' / platform}")
        sources += (STAND_IN / "platforms" / platform).glob("*.cc")
    # Arduino's builder puts this line in front of a sketch.
    sketches = [word for sketch in project.rglob("*.ino") for word in ("-include", "Arduino.h", "-x", "c++", sketch)]
    program = project / "program"
    command = [compiler, f"-std={standard}", *STRICT, "-O1", *defines, *includes, f"-isystem{STAND_IN}", "-o", program]
    done = run(*command, *sources, *sketches)
    assert done.returncode == 0, done.stderr
    return program


def run(*command: object, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], input=given, capture_output=True, text=True, timeout=120)


def in_qemu(machine: str, elf: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """What a program for Cortex-M says on its console, and its exit code; ``given`` is what it reads there."""
    silent = [word for each in ("display", "monitor", "serial") for word in (f"-{each}", "none")]
    console = ["-semihosting-config", "enable=on,target=native"]
    return run("qemu-system-arm", "-M", machine, *silent, *console, "-kernel", elf, given=given)


def properties(text: str) -> dict[str, str]:
    """Java's format, as Arduino reads it."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def wrong_table() -> bytes:
    """One code of the last vector is off by one."""
    outputs = VECTORS[1].copy()
    outputs[2, 0] += 1
    return table(outputs)
