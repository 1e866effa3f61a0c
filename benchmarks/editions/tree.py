"""A C++ source tree of TFLite Micro, built for this machine together with a runner of models.

Ports that bring optimized kernels have no reference kernels for these operators. They are then built with the optimized
library's portable C, which is what it computes on a core without vector instructions.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.editions.packages import FOLDER
from qtorch.errors import BadConfiguration

__all__ = ["Tree", "built", "registrations"]

#: Folders of sources below ``tensorflow``, each with what lies in it and not below it.
_FOLDERS = (
    "lite/micro", "lite/micro/arena_allocator", "lite/micro/memory_planner", "lite/micro/tflite_bridge",
    "lite/micro/kernels", "lite/core/api", "lite/core/c", "lite/c", "lite/kernels", "lite/kernels/internal",
    "lite/kernels/internal/reference", "lite/schema", "compiler/mlir/lite/core/api", "compiler/mlir/lite/schema",
)  # fmt: skip
#: Third parties' headers, where trees have them: beside ``tensorflow``, or where TFLite Micro's Makefile puts them.
_THIRD_PARTIES = ("third_party", "third_party_static", "tensorflow/lite/micro/tools/make/downloads")
_HEADERS = ("flatbuffers/include", "gemmlowp", "ruy", "kissfft", "cmsis/CMSIS/Core/Include", "cmsis_nn/Include", ".")
#: No part of a program that runs models.
_TESTS = re.compile(r"_test\b|_test_|test_helper|^mock_|^fake_|_fuzz|benchmark|kernel_runner")
_CPP = ("g++", "-std=gnu++17", "-fno-exceptions")
_SECTIONS = ("-ffunction-sections", "-fdata-sections")
_FLAGS = (*_SECTIONS, "-O1", "-w", "-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_DISABLE_X86_NEON")
#: ESP-NN's portable C, of its optimized kind; the wrappers time themselves with a header of Espressif's. CMSIS-NN of
#: 2023 has its integer types from headers of compilers for Arm.
_LIBRARY_FLAGS = {"cmsis_nn": ("-DCMSIS_NN", "-include", "stdint.h"), "esp_nn": ("-DESP_NN", "-DCONFIG_NN_OPTIMIZED")}
_CLOCK = "#pragma once\nstatic inline long long esp_timer_get_time(void) { return 0; }\n"
#: The second core of a Raspberry Pi's chip, which pico-tflmicro's CMSIS-NN starts with half of a product's rows: here
#: its half is done when it is started. A source that has it is a C file of one thread.
_SECOND_CORE = """#pragma once
#include <stdint.h>
static uint32_t second_core_says;
static inline void multicore_reset_core1(void) {}
static inline void multicore_launch_core1(void (*entry)(void)) { entry(); }
static inline void multicore_fifo_push_blocking(uint32_t word) { second_core_says = word; }
static inline uint32_t multicore_fifo_pop_blocking(void) { return second_core_says; }
"""
#: What libraries include of a board's or chip's maker, for a PC.
_OF_MAKERS = {"esp_timer.h": _CLOCK, "pico/stdlib.h": "#pragma once\n", "pico/multicore.h": _SECOND_CORE}
#: What nearly every source reads first, and takes longer to read than the rest to compile.
_FIRST = "tensorflow/lite/schema/schema_generated.h"
#: What a port says to its board by headers that no PC has; of each file the part before the suffix.
_OF_A_BOARD = frozenset({"system_setup", "debug_log", "micro_time"})
_BOARDS_HEADERS = re.compile(r'#include [<"](Arduino\.h|pico/|hardware/)')
#: The same for a PC. Until 2023 messages came put together.
_PLATFORM = """#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include "tensorflow/lite/micro/debug_log.h"
#include "tensorflow/lite/micro/micro_time.h"
#include "tensorflow/lite/micro/system_setup.h"
namespace tflite {
uint32_t ticks_per_second() { return 0; }
uint32_t GetCurrentTimeTicks() { return 0; }
void InitializeTarget() {}
}
"""
_SAYS = {
    False: 'extern "C" void DebugLog(const char* s) { std::fputs(s, stderr); }\n',
    True: 'extern "C" void DebugLog(const char* format, va_list args) { std::vfprintf(stderr, format, args); }\n'
    'extern "C" int DebugVsnprintf(char* to, size_t size, const char* format, va_list args) {\n'
    "  return std::vsnprintf(to, size, format, args);\n}\n",
}
#: Registered by functions that need sources beside TFLite Micro's own kernels.
_FOREIGN = ("signal", "ethosu", "AddCustom", "DetectionPostprocess")


@dataclass(frozen=True)
class Tree:
    """Sources, and which kernels of them.

    Attributes:
        name: in tables.
        root: a folder with ``tensorflow/lite/micro`` somewhere in it.
        kernels: ``reference``, ``cmsis_nn`` or ``esp_nn``.
        library: that library's sources, where the tree has none.
        own: files of kernels that its build leaves to TFLite Micro, though the library has some: ``transpose_conv``.
    """

    name: str
    root: Path
    kernels: str = "reference"
    library: Path | None = None
    own: tuple[str, ...] = ()

    @property
    def base(self) -> Path:
        """The folder that ``tensorflow`` lies in.

        Raises:
            BadConfiguration: there is none.
        """
        for place in (self.root, self.root / "src", *sorted(self.root.glob("*/"))):
            if (place / "tensorflow/lite/micro/micro_interpreter.h").exists():
                return place
        raise BadConfiguration(
            where="--tree", expected="a source tree of TFLite Micro", got=str(self.root),
            remedy="name a folder that has tensorflow/lite/micro/micro_interpreter.h, in itself or in src",
        )  # fmt: skip

    def facts(self) -> dict[str, str]:
        """For the results."""
        return {"kernels": self.kernels}

    def headers(self) -> list[Path]:
        """Folders that sources include from."""
        base = self.base
        places = [base, *(base / third / header for third in _THIRD_PARTIES for header in _HEADERS)]
        library = [self.library, self.library / "Include", self.library / "include"] if self.library else []
        if self.library and self.kernels == "esp_nn":
            library += [self.library / "src/common"]
        return [place for place in (*library, *places) if place.is_dir()]

    @property
    def of_a_board(self) -> frozenset[str]:
        """By which headers of a board messages and time go, so that a PC needs its own; empty where by none."""
        micro = self.base / "tensorflow/lite/micro"
        files = [file for name in sorted(_OF_A_BOARD) for file in micro.glob(f"{name}.c*")]
        return frozenset(name for file in files for name in _BOARDS_HEADERS.findall(file.read_text(encoding="utf-8")))

    def flags(self) -> tuple[str, ...]:
        """What its own build defines."""
        # pico-tflmicro was made of the Arduino library, whose headers leave out what that has not.
        arduino = (self.root / "library.properties").exists() or bool(self.of_a_board)
        return (*_LIBRARY_FLAGS.get(self.kernels, ()), *(("-DARDUINO",) if arduino else ()))

    def platform(self) -> str:
        """Source of messages and time for a PC; empty where the tree's own compile there."""
        if not self.of_a_board:
            return ""
        header = (self.base / "tensorflow/lite/micro/debug_log.h").read_text(encoding="utf-8")
        return _PLATFORM + _SAYS["va_list" in header]

    def sources(self) -> list[Path]:
        """TFLite Micro's, with a library's kernels in the place of those of the same name."""
        tensorflow = self.base / "tensorflow"
        found = {str(file.with_suffix("")): file for folder in _FOLDERS for file in _plain(tensorflow / folder)}
        if self.kernels != "reference":
            kernels = tensorflow / "lite/micro/kernels"
            for file in _plain(kernels / self.kernels):
                if file.stem not in self.own:
                    found[str((kernels / file.name).with_suffix(""))] = file
        if self.of_a_board:
            found = {key: file for key, file in found.items() if file.stem not in _OF_A_BOARD}
        return [*found.values(), *self._library_sources()]

    def _library_sources(self) -> Iterator[Path]:
        if self.kernels == "reference":
            return
        inside = [self.base / third / self.kernels for third in _THIRD_PARTIES]
        library = self.library or next((place for place in inside if place.is_dir()), None)
        if library is None:
            raise BadConfiguration(
                where="--library", expected=f"the sources of {self.kernels}", got=f"none in {self.root}",
                remedy="name their folder",
            )  # fmt: skip
        for file in sorted(library.rglob("*.c")):
            inside_tests = set(file.relative_to(library).parts) & {"Tests", "tests", "test_app", "Examples", "examples"}
            # What is left of ESP-NN is C for any core.
            if not inside_tests and not re.search("_esp32(s3|p4)$", file.stem):
                yield file


def _plain(folder: Path) -> list[Path]:
    files = sorted(file for suffix in ("cc", "cpp", "c") for file in folder.glob(f"*.{suffix}"))
    return [file for file in files if not _TESTS.search(file.stem)]


def registrations(header: str) -> list[str]:
    """The functions of ``micro_mutable_op_resolver.h`` that register an operator of TFLite Micro's own.

    Example:
        >>> registrations("TfLiteStatus AddAbs() { return AddBuiltin(BuiltinOperator_ABS, Register_ABS()); }")
        ['AddAbs']
    """
    parts = re.split(r"TfLiteStatus (?=Add\w+\()", header)[1:]
    named = [(part[: part.index("(")], part) for part in parts]
    return [name for name, part in named if name != "AddBuiltin" and not any(word in part for word in _FOREIGN)]


def built(tree: Tree) -> Path:
    """The runner of a tree, compiled anew where something changed.

    Raises:
        BadConfiguration: this is no tree, or it doesn't compile; has the compiler's first words.
    """
    folder = FOLDER / "trees" / hashlib.sha256(f"{tree.root} {tree.kernels} {tree.library}".encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in _OF_MAKERS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    header = (tree.base / "tensorflow/lite/micro/micro_mutable_op_resolver.h").read_text(encoding="utf-8")
    calls = "".join(f"  (void)resolver.{name}();\n" for name in registrations(header))
    (folder / "registered.inc").write_text(calls)
    (folder / "platform.cc").write_text(tree.platform())
    runner = Path(__file__).with_name("runner.cc")
    includes = [f"-I{place}" for place in (folder, *tree.headers())]
    flags = [*_FLAGS, *tree.flags(), *includes]
    sources = [runner, folder / "platform.cc", *tree.sources()]
    print(f"compiling {len(sources)} sources of {tree.name}", file=sys.stderr, flush=True)
    (folder / "first.h").write_text(f'#include "{_FIRST}"\n')
    _run([*_CPP, *flags, "-x", "c++-header", str(folder / "first.h"), "-o", str(folder / "first.h.gch")], _FIRST)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda source: _compiled(source, folder, flags), sources))
    program = folder / "runner"
    _run(["g++", "-Wl,--gc-sections", "-o", str(program), *map(str, objects), "-lm"], "linking")
    return program


def _compiled(source: Path, folder: Path, flags: Sequence[str]) -> Path:
    made = folder / f"{hashlib.sha256(str(source).encode()).hexdigest()[:8]}_{source.stem}.o"
    if made.exists() and made.stat().st_mtime > source.stat().st_mtime and source.name != "runner.cc":
        return made
    compiler = ["gcc", "-std=gnu11"] if source.suffix == ".c" else [*_CPP, "-include", str(folder / "first.h")]
    _run([*compiler, *flags, "-c", str(source), "-o", str(made)], source.name)
    return made


def _run(command: Sequence[str], what: str) -> None:
    if shutil.which(command[0]) is None:
        raise BadConfiguration(where="--tree", expected="a C++ compiler", got="none", remedy=f"install {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        raise BadConfiguration(
            where="--tree", expected="sources that compile", got=f"{what}: {(lines or [done.stderr[-300:]])[0]}",
            remedy="name a tree that its own build takes, and its kernels as it has them",
        )  # fmt: skip
