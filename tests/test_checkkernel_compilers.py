"""Every kernel that is checked by itself under other compilers, as C and as C++, without a warning, and sanitized."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from export.checkkernel import Case, checked, drawn
from export.checkkernel.build import clang_for, sources_of
from export.checkkernel.check import jobs_of
from export.checkkernel.targets import Target, targets
from firmware.emulation import available
from tests.c_programs import COMPILERS, STRICT, command, succeed

pytestmark = pytest.mark.usefixtures("one_thread")

COUNT = int(os.environ.get("QTORCH_CHECKED_KERNELS", "250")) // 2

#: By the processor whose kernels they are, compilers as ``tests.c_programs`` has them; of Cortex-M what stands for its
#: instructions elsewhere, too.
OTHERS = {
    **{f"{name}, {cpu}": (cpu, compiler) for name, compiler in COMPILERS.items() for cpu in ("host", "cortex-m4")},
    "C++17, Cortex-M4": (
        "cortex-m4",
        (("arm-none-eabi-g++", "-mcpu=cortex-m4", "-mthumb", "-std=c++17", "-x", "c++"), "gcc-arm-none-eabi"),
    ),
    "C++17, Cortex-M55": (
        "cortex-m55",
        (
            ("arm-none-eabi-g++", "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-std=c++17", "-x", "c++"),
            "gcc-arm-none-eabi",
        ),
    ),
    "C++17, AVR": ("avr", (("avr-g++", "-mmcu=atmega1284p", "-std=c++17", "-x", "c++"), "gcc-avr")),
    "C99, AVR with more flash": ("avr", (("avr-gcc", "-mmcu=atmega2560", "-std=c99"), "gcc-avr")),
}
_ALWAYS = ("gcc, C99, cortex-m4", "clang++, C++17, cortex-m4", "C++17, Cortex-M55", "C++17, AVR")

CLANG = [
    pytest.param(name, marks=[] if name == "host" else [pytest.mark.qemu])
    for name in ("host", "cortex-m0", "cortex-m4", "cortex-m55", "rv32")
]


def _target(name: str) -> Target:
    target = targets()[name]
    if absent := available(target.machine):
        pytest.skip(absent)
    return target


def _cases(target: Target, seed: int, numbers: Sequence[int]) -> list[Case]:
    return [case for number in numbers if (case := drawn(seed, number, target.room))]


def _faults(cases: list[Case], target: Target, clang: bool = False) -> list[str]:
    found = checked(cases, target, clang=clang)
    assert found
    return [f"{o.kernels} ({o.form}): {o.fault}. {o.case}" for o in found if o.fault]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _ALWAYS else [pytest.mark.sweep]) for name in OTHERS]
)
def test_kernels_compile_without_a_warning(name: str, tmp_path: Path) -> None:
    cpu, compiler = OTHERS[name]
    target = replace(targets()["avr" if cpu == "avr" else "host"], cpu=cpu)
    jobs = jobs_of(_cases(target, 3, range(40)), target)
    assert len(jobs) > 40
    for file, text in sources_of(jobs, target).items():
        (tmp_path / file).write_text(text)
    succeed([*command(compiler), *STRICT, "-O1", "-c", "check_model.c", "-o", "check_model.o"], tmp_path)


@pytest.mark.parametrize("name", CLANG)
def test_kernels_that_clang_compiles(name: str) -> None:
    target = _target(name)
    if clang_for(target.machine) is None:
        pytest.skip("a second compiler needs clang: apt-get install clang")
    assert _faults(_cases(target, 0, range(24)), target, clang=True) == []


@pytest.mark.sweep
@pytest.mark.parametrize("name", CLANG)
def test_many_kernels_that_clang_compiles(name: str) -> None:
    target = _target(name)
    if clang_for(target.machine) is None:
        pytest.skip("a second compiler needs clang: apt-get install clang")
    for first in range(0, COUNT, 250):
        assert _faults(_cases(target, 2, range(first, min(first + 250, COUNT))), target, clang=True) == []


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("count", [40, pytest.param(COUNT, marks=pytest.mark.sweep)], ids=["few", "many"])
def test_what_stands_for_a_processors_instructions_is_defined(cpu: str, count: int) -> None:
    """Kernels of Cortex-M on the host, under the sanitizers."""
    target = replace(_target("host-sanitized"), cpu=cpu)
    assert _faults(_cases(target, 6, range(count)), target) == []
