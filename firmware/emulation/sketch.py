"""Arduino sketches: written, compiled as Arduino's IDE compiles them, and run in simavr with their Serial read."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from firmware.emulation.build import TARGETS, Footprint, run_tool, runner, weigh
from firmware.emulation.failure import DidNotBuild, DidNotEnd, EmulationFailure
from firmware.emulation.machines import ARDUINO, AVR_TOOLS, MACHINES, Need, missing

__all__ = ["build_sketch", "run_sketch", "sketch_available", "sketch_size", "sketch_source"]

#: An Arduino Uno; what boards.txt says of it.
_MCU, _CLOCK, _VARIANT = "atmega328p", "16000000", "standard"
_MOST_FLASH, _MOST_RAM = 32_256, 2_048
_DEFINES = (
    f"-DF_CPU={_CLOCK}L",
    "-DARDUINO=10819",
    "-DARDUINO_AVR_UNO",
    "-DARDUINO_ARCH_AVR",
    # Arduino's core takes it from float.h, where C++11 of this compiler's age does not have it.
    "-DDECIMAL_DIG=__DECIMAL_DIG__",
)
_COMMON = (f"-mmcu={_MCU}", "-Os", "-ffunction-sections", "-fdata-sections", "-flto")
_CPP = ("-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics")
_INCLUDES = (f"-I{ARDUINO / 'cores' / 'arduino'}", f"-I{ARDUINO / 'variants' / _VARIANT}")

_LAST_LINE = "vectors agree"
_CYCLE_LIMIT = 71


def sketch_available() -> str | None:
    """``None`` if sketches can be built and run here, else what is absent and which packages bring it."""
    return missing((*AVR_TOOLS, Need(str(ARDUINO / "cores" / "arduino"), "arduino-core-avr")), "an Arduino sketch")


def sketch_source(name: str) -> str:
    """The sketch that replays ``<name>_test_vectors.h`` through ``<name>_model.h``; ``name`` is a C identifier."""
    template = (TARGETS / "avr" / "sketch" / "replay.ino.in").read_text()
    return template.replace("@name@", name).replace("@NAME@", name.upper())


def _compile(where: str, source: Path, target: Path, *flags: str) -> Path:
    """One source to an object, in the language of its name; an .ino is C++ after ``#include <Arduino.h>``."""
    if source.suffix == ".S":
        language: tuple[str, ...] = ("avr-gcc", "-x", "assembler-with-cpp")
    elif source.suffix == ".c":
        language = ("avr-gcc", "-std=gnu11", "-fno-fat-lto-objects")
    elif source.suffix == ".ino":
        language = ("avr-g++", *_CPP, "-include", "Arduino.h", "-x", "c++")
    else:
        language = ("avr-g++", *_CPP)
    run_tool(where, (*language, *_COMMON, *_DEFINES, *_INCLUDES, *flags, "-c", source, "-o", target))
    return target


@functools.cache
def _core_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="arduino-core-")  # lives as long as the process


@functools.cache
def _core() -> tuple[Path, ...]:
    """Objects of Arduino's core, compiled once per process."""
    folder = Path(_core_folder().name)
    sources = sorted(
        source for source in (ARDUINO / "cores" / "arduino").iterdir() if source.suffix in (".c", ".cpp", ".S")
    )
    # The core is Arduino's: what a compiler would say of it is not ours to mend.
    return tuple(_compile("Arduino's core", source, folder / f"{source.name}.o", "-w") for source in sources)


def build_sketch(folder: Path) -> Path:
    """Compile the sketch in ``folder`` for an Arduino Uno, with Arduino's core and flags.

    Like Arduino's IDE, except that functions must be declared before they are used.

    Args:
        folder: holds one ``.ino`` and what it takes: headers, ``.c``, ``.cpp``.

    Returns:
        ``folder/build/sketch.elf``.

    Raises:
        DidNotBuild: there is not exactly one ``.ino``, a source does not compile, or the sketch does not fit.
    """
    sketches = sorted(path.name for path in folder.glob("*.ino"))
    if len(sketches) != 1:
        raise DidNotBuild(where=str(folder), expected="one .ino file", got=f"{sketches}")
    build = folder / "build"
    build.mkdir(exist_ok=True)
    objects = [
        _compile(source.name, source, build / f"{source.name}.o", "-Wall", "-Wextra", f"-I{folder}")
        for source in sorted(folder.iterdir())
        if source.suffix in (".ino", ".c", ".cpp", ".S")
    ]
    elf = build / "sketch.elf"
    flags = (*_COMMON, "-fuse-linker-plugin", "-Wl,--gc-sections")
    run_tool(f"{sketches[0]}: link", ("avr-gcc", *flags, *objects, *_core(), "-lm", "-o", elf))
    weighed = sketch_size(elf)
    if weighed.flash > _MOST_FLASH or weighed.ram > _MOST_RAM:
        raise DidNotBuild(
            where=sketches[0],
            expected=f"at most {_MOST_FLASH} bytes of flash and {_MOST_RAM} of RAM",
            got=f"{weighed.flash} and {weighed.ram}",
        )
    return elf


def sketch_size(elf: Path) -> Footprint:
    """Bytes of a built sketch, Arduino's core included."""
    return weigh(MACHINES[_MCU], (elf,))


def run_sketch(elf: Path, until: str = _LAST_LINE, cycles: int = 1_600_000_000, seconds: float = 120.0) -> str:
    """What a sketch sends over Serial, until it has sent a line that contains ``until``.

    Args:
        elf: from :func:`build_sketch`.
        until: part of the last line wanted.
        cycles: at most; 16 million are a second on the board.
        seconds: of wall time, at most.

    Raises:
        DidNotEnd: the line did not come within these limits; the message has what came.
        EmulationFailure: the processor stopped.
    """
    command = [str(runner()), "serial", _MCU, _CLOCK, str(elf), str(cycles), "0", until]
    expected = f"a line with {until!r}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        raise DidNotEnd(where=elf.name, expected=expected, got=f"none after {seconds:g} s") from late
    said = done.stdout.replace("\r\n", "\n")
    if done.returncode == _CYCLE_LIMIT:
        raise DidNotEnd(where=elf.name, expected=expected, got=f"none in {cycles:,} cycles", output=said)
    if done.returncode != 0:
        got = f"exit code {done.returncode}"
        raise EmulationFailure(where=elf.name, expected=expected, got=got, output=said + done.stderr)
    return said
