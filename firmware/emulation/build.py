"""Compiling and weighing: sources in a folder, programs out."""

from __future__ import annotations

import functools
import itertools
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware.emulation.failure import DidNotBuild, DidNotEnd
from firmware.emulation.machines import FREESTANDING, Machine
from firmware.emulation.steps import has_steps

__all__ = [
    "STRICT",
    "TARGETS",
    "Footprint",
    "Model",
    "Options",
    "compile_model",
    "link",
    "names_of",
    "run_tool",
    "runner",
    "weigh",
]

#: The C sources of the rigs.
TARGETS = Path(__file__).parents[1] / "targets"

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")

_TOOL_SECONDS = 300.0


@dataclass(frozen=True)
class Options:
    """How a model is built and for how long it may run.

    Attributes:
        optimize: flags of optimization, for the model alone; the rig is always built with ``-O2``.
        flags: more flags for the model, by default every warning an error.
        seconds: of wall time that the emulated program may take.
        cycles: that one inference may take in simavr.
    """

    optimize: tuple[str, ...] = ("-O2",)
    flags: tuple[str, ...] = STRICT
    seconds: float = 120.0
    cycles: int = 100_000_000


@dataclass(frozen=True)
class Footprint:
    """Bytes of a program: ``flash`` is text and the initial values of data, ``ram`` is data and bss without a stack."""

    flash: int
    ram: int


@dataclass(frozen=True)
class Model:
    """A compiled model: its C name, its folder of sources, its object files."""

    name: str
    folder: Path
    objects: tuple[Path, ...]


def run_tool(where: str, command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """What a compiler or its like prints.

    Raises:
        DidNotBuild: it failed.
        DidNotEnd: it took minutes.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=_TOOL_SECONDS
        )
    except subprocess.TimeoutExpired as late:
        got = f"none after {_TOOL_SECONDS:g} s"
        raise DidNotEnd(where=where, expected=f"{command[0]} to end", got=got) from late
    if done.returncode != 0:
        raise DidNotBuild(
            where=where,
            expected=f"{command[0]} to succeed",
            got=f"exit code {done.returncode}",
            output=done.stderr + done.stdout,
        )
    return done.stdout


def compile_model(
    machine: Machine, sources: Mapping[str, bytes | str], name: str, folder: Path, options: Options
) -> Model:
    """Write ``sources`` (text by file name) to ``folder`` and compile those that end in ``.c``.

    Raises:
        DidNotBuild: the compiler refuses, or no source ends in ``.c``.
    """
    for file, text in sources.items():
        (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)
    units = sorted(file for file in sources if file.endswith(".c"))
    if not units:
        raise DidNotBuild(where=name, expected="at least one source that ends in .c", got=f"{sorted(sources)}")
    objects = []
    for unit in units:
        target = folder / f"{unit}.o"
        # Common symbols lie in no section: `size` would not count them, the linker not drop them.
        sections = ("-ffunction-sections", "-fdata-sections", "-fno-common")
        lines = ("-gdwarf-4",) if has_steps((folder / unit).read_text(encoding="utf-8", errors="replace")) else ()
        flags = (*machine.flags, *options.optimize, *sections, *lines, *options.flags)
        where = f"{machine.name}: {unit}"
        run_tool(where, (machine.compiler, *flags, f"-I{folder}", "-c", folder / unit, "-o", target))
        objects.append(target)
    return Model(name, folder, tuple(objects))


def names_of(name: str) -> tuple[str, ...]:
    """Flags that tell ``targets/model.h`` what a model's header, function and sizes are called.

    Args:
        name: the model's, an identifier.
    """
    macro = name.upper()
    names = {
        "HEADER": f'"{name}_model.h"',
        "CALL": f"{name}_invoke",
        "INPUTS": f"{macro}_INPUT_SIZE",
        "OUTPUTS": f"{macro}_OUTPUT_SIZE",
        # Of one with states; another's is no macro, which is 0 to the preprocessor.
        "STATES": f"{macro}_STATE_BYTES",
        "RESET": f"{name}_reset",
        # Of an interpreted model.
        "DATA": f"{name}_model_data",
        "OPS": f"{name}_op_count",
        "REGISTER": f"{name}_register_ops",
    }
    return tuple(f"-DRIG_{meaning}={called}" for meaning, called in names.items())


def link(machine: Machine, model: Model, rig: Sequence[str], program: str) -> Path:
    """Link ``model`` with sources under firmware/targets to a program in the model's folder.

    Raises:
        DidNotBuild: a source does not compile, or the linker finds that the program does not fit the machine.
    """
    elf = model.folder / program
    freestanding = FREESTANDING if "-nostdlib" in machine.link else ()
    flags = (*machine.flags, "-O2", "-ffunction-sections", "-fdata-sections", *STRICT, *freestanding)
    names = (*names_of(model.name), f"-I{model.folder}", f"-I{TARGETS}")
    placed = [part.format(targets=TARGETS) for part in machine.link]
    alike = (machine.compiler, *flags, *(part for part in placed if not part.startswith("-l")))
    sources = [TARGETS / part if _knows_the_model(part) else _rig_object(machine.name, alike, part) for part in rig]
    run_tool(
        f"{machine.name}: {program}",
        # libgcc last, because the objects before it are what asks for its functions.
        (machine.compiler, *flags, *names, *sources, *model.objects, *placed, "-Wl,--gc-sections", "-lgcc", "-o", elf),
    )
    return elf


def _knows_the_model(source: str) -> bool:
    """Whether a source under firmware/targets is another program's with another model."""
    text = (TARGETS / source).read_text()
    return any(header in text for header in ('model.h"', 'interpreted.h"'))


@functools.cache
def _rig_object(machine: str, command: tuple[str | Path, ...], source: str) -> Path:
    """A source that is the same in all programs of a machine, compiled once per process.

    Raises:
        DidNotBuild: it does not compile.
    """
    target = Path(_kept_folder().name) / f"{next(_objects)}.o"
    run_tool(f"{machine}: {source}", (*command, f"-I{TARGETS}", "-c", TARGETS / source, "-o", target))
    return target


_objects = itertools.count()


def weigh(machine: Machine, files: Sequence[Path]) -> Footprint:
    """Bytes of object files or of a program, as binutils' ``size`` counts them."""
    flash = ram = 0
    for line in run_tool(f"{machine.name}: size", (machine.size, *files)).splitlines()[1:]:
        text, data, bss = (int(figure) for figure in line.split()[:3])
        flash, ram = flash + text + data, ram + data + bss
    return Footprint(flash, ram)


@functools.cache
def _kept_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="emulation-")  # lives as long as the process


@functools.cache
def runner() -> Path:
    """The program that runs AVR programs, built once per process.

    Raises:
        DidNotBuild: the compiler refuses it.
    """
    program = Path(_kept_folder().name) / "runner"
    # simavr's own headers are not clean under -Wconversion; as system headers they are not judged.
    source = TARGETS / "avr" / "runner.c"
    run_tool("runner.c", ("gcc", "-std=gnu11", "-O2", *STRICT, source, "-o", program, "-lsimavr", "-lelf"))
    return program
