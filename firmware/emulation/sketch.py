"""Arduino sketches: written, compiled as Arduino's IDE compiles them, and run in simavr with their Serial read."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections.abc import Collection
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


def sketch_source(name: str, several: Collection[str] = (), arguments: str = "in, out") -> str:
    """The sketch that replays ``<name>_test_vectors.h`` through ``<name>_model.h``.

    Args:
        name: of the model, a C identifier.
        several: of ``"input"`` and ``"output"``, those of which there is more than one: the sketch has them side by
            side in an array of its own, as the vectors have them; one alone lies in the model's memory.
        arguments: of the model's function.
    """
    template = (TARGETS / "avr" / "sketch" / "replay.ino.in").read_text(encoding="utf-8")
    ends = "\n".join(
        f"static int8_t {array}[{name.upper()}_TEST_{side.upper()}_SIZE];"
        if side in several
        else f"static int8_t *const {array} = {name}_{side}();"
        for side, array in (("input", "in"), ("output", "out"))
    )
    words = {"ends": ends, "arguments": arguments, "name": name, "NAME": name.upper()}
    for word, value in words.items():
        template = template.replace(f"@{word}@", value)
    return template


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


def _sources(folder: Path) -> tuple[list[Path], list[Path]]:
    """The ``.ino`` and all that is compiled with it, as Arduino's IDE has it; and the folders of headers."""
    around = folder.absolute().parent.parent
    library = around if (around / "library.properties").is_file() else None
    sketches = sorted(folder.glob("*.ino"))
    if not sketches and (folder / "src").is_dir():
        library, sketches = folder, sorted(folder.glob("examples/*/*.ino"))
    if len(sketches) != 1:
        expected = "one .ino file, there or in a library's examples/NAME"
        raise DidNotBuild(where=str(folder), expected=expected, got=f"{[path.name for path in sketches]}")
    properties = library / "library.properties" if library else folder
    text = properties.read_text(encoding="utf-8") if properties.is_file() else ""
    if needed := re.search(r"^depends=.*\S.*$", text, re.MULTILINE):
        raise DidNotBuild(where=str(properties), expected="a library that needs no other", got=needed[0])
    own = sketches[0].parent
    below = [each / "src" for each in (own, library) if each]
    beside = [*own.iterdir(), *(path for each in below for path in each.rglob("*"))]
    return [*sketches, *sorted(path for path in beside if path.suffix in (".c", ".cpp", ".S"))], [own, *below]


def build_sketch(folder: Path, build: Path | None = None) -> Path:
    """Compile the sketch in ``folder`` for an Arduino Uno, with Arduino's core and flags.

    Like Arduino's IDE, except that functions must be declared before they are used.

    Args:
        folder: holds one ``.ino`` and what it takes: headers, ``.c``, ``.cpp``. Or that of a library, as an export for
            an Uno writes it, with one example; or of such an example.
        build: a folder for the results, made if need be; ``folder/build`` if ``None``.

    Returns:
        ``build/sketch.elf``.

    Raises:
        DidNotBuild: there is not exactly one ``.ino``, a source does not compile, or the sketch does not fit.
    """
    sources, headers = _sources(folder)
    name = sources[0].name
    build = build or folder / "build"
    build.mkdir(exist_ok=True)
    flags = ("-Wall", "-Wextra", *(f"-I{each}" for each in headers))
    # Numbered: a library's source may be called as the sketch's own.
    objects = [_compile(each.name, each, build / f"{n}_{each.name}.o", *flags) for n, each in enumerate(sources)]
    elf = build / "sketch.elf"
    linked = (*_COMMON, "-fuse-linker-plugin", "-Wl,--gc-sections")
    run_tool(f"{name}: link", ("avr-gcc", *linked, *objects, *_core(), "-lm", "-o", elf))
    weighed = sketch_size(elf)
    if weighed.flash > _MOST_FLASH or weighed.ram > _MOST_RAM:
        raise DidNotBuild(
            where=name,
            expected=f"at most {_MOST_FLASH} bytes of flash and {_MOST_RAM} of RAM",
            got=f"{weighed.flash} and {weighed.ram}",
        )
    return elf


def sketch_size(elf: Path) -> Footprint:
    """Bytes of a built sketch, Arduino's core included."""
    return weigh(MACHINES[_MCU], (elf,))


def run_sketch(elf: Path, until: str | None = _LAST_LINE, cycles: int = 1_600_000_000, seconds: float = 120.0) -> str:
    """What a sketch sends over Serial, until it has sent a line that contains ``until``.

    Args:
        elf: from :func:`build_sketch`.
        until: part of the last line wanted; ``None``: what comes within ``cycles``.
        cycles: at most; 16 million are a second on the board.
        seconds: of wall time, at most.

    Raises:
        DidNotEnd: the line did not come within these limits; the message has what came.
        EmulationFailure: the processor stopped.
    """
    command = [str(runner()), "serial", _MCU, _CLOCK, str(elf), str(cycles), "0"]
    # No line has two ends: then time alone is up.
    command.append("\n\n" if until is None else until)
    expected = "a sketch that goes on" if until is None else f"a line with {until!r}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        raise DidNotEnd(where=elf.name, expected=expected, got=f"none after {seconds:g} s") from late
    said = done.stdout.replace("\r\n", "\n")
    if done.returncode == _CYCLE_LIMIT and until is None:
        return said
    if done.returncode == _CYCLE_LIMIT:
        raise DidNotEnd(where=elf.name, expected=expected, got=f"none in {cycles:,} cycles", output=said)
    if done.returncode != 0:
        got = f"exit code {done.returncode}"
        raise EmulationFailure(where=elf.name, expected=expected, got=got, output=said + done.stderr)
    return said
