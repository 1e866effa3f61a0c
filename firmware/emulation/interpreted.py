"""A model in TFLite Micro on an emulated Cortex-M, counted and weighed by the rigs that replay plain C."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firmware.emulation.build import STRICT, TARGETS, Model, Options, link, names_of, run_tool, weigh
from firmware.emulation.failure import DidNotBuild
from firmware.emulation.replay import Replay, check_samples, replay_model, run_program
from firmware.emulation.tflm_library import Library

__all__ = ["Interpreted", "arena_probe", "interpreted", "smallest_arena"]

#: Arenas are tried at this granularity, in bytes; it is also their alignment.
_STEP = 16
_LARGEST = 256 * 1024
_ACCEPTED = 0
_CPP = (
    "-std=c++17",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-threadsafe-statics",
    "-ffunction-sections",
    "-fdata-sections",
)


@dataclass(frozen=True)
class Interpreted:
    """What TFLite Micro made of the samples.

    Attributes:
        replay: as of plain C, without the set-up. Its ``cost`` covers the copies into and out of the interpreter's
            tensors; its ``firmware`` has the arena and no input and output beside it, its ``model`` not the library.
        arena: bytes of the smallest arena with which the model can be set up on this machine.
    """

    replay: Replay
    arena: int


def interpreted(
    library: Library,
    sources: Mapping[str, str],
    name: str,
    inputs: np.ndarray,
    expected: np.ndarray,
    options: Options | None = None,
    *,
    tensors: tuple[int, int] = (1, 1),
    variables: int = 0,
    largest: int = _LARGEST,
) -> Interpreted:
    """Run the model on every input and compare, with the smallest arena that lets it run.

    Args:
        library: for a machine that :func:`~firmware.emulation.machines.available` finds nothing missing for.
        sources: an export's ``<name>_model_data.h``, ``<name>_model_data.cc`` and ``<name>_op_resolver.h``.
        name: a C identifier.
        inputs: int8 ``[N, I]``, N at least 1: the bytes of all input tensors, one behind the other.
        expected: int8 ``[N, O]``, likewise.
        options: how long to run; and how to build what lies around the library, without its ``flags``, which are C's.
        tensors: how many inputs and outputs the model has.
        variables: how many resource variables it has.
        largest: bytes of the largest arena that is tried.

    Raises:
        ValueError: the arrays are not of that type and shape.
        DidNotBuild: the sources do not compile or the program does not fit, or no arena that is tried is enough.
        DidNotEnd: time ran out.
        EmulationFailure: the program ended in any other way than by saying whether all outputs agree.
    """
    check_samples(inputs, expected)
    options = options or Options()
    with tempfile.TemporaryDirectory(prefix="interpreted-") as temporary:
        folder = Path(temporary)
        sizes = (inputs.shape[1], expected.shape[1])
        objects = _compile(
            library,
            {**sources, f"{name}_model.h": _model_header(name, sizes, tensors, variables)},
            name,
            folder,
            options,
        )
        roomy = Model(name, folder, (*objects, _arena(library, folder, largest)))
        machine = library.machine
        arena = smallest_arena(_acceptance(library, roomy, options), f"{machine.name}: {name}", largest)
        model = Model(name, folder, (*objects, _arena(library, folder, arena)))
        smallest = weigh(machine, (link(machine, model, (*machine.start, "tflm/smallest.c"), "smallest.elf"),))
        replay = replay_model(machine, model, inputs, expected, options)
        return Interpreted(dataclasses.replace(replay, firmware=smallest), arena)


def _model_header(name: str, sizes: tuple[int, int], tensors: tuple[int, int], variables: int) -> str:
    """The interpreted model under the names that plain C has."""
    return f"""\
#pragma once
#include <stdint.h>
#define {name.upper()}_INPUT_SIZE {sizes[0]}
#define {name.upper()}_OUTPUT_SIZE {sizes[1]}
#define RIG_INPUT_TENSORS {tensors[0]}
#define RIG_OUTPUT_TENSORS {tensors[1]}
#define RIG_VARIABLES {variables}
#ifdef __cplusplus
#include "{name}_model_data.h"
#include "{name}_op_resolver.h"
extern "C" {{
#endif
#define RIG_SET_UP {name}_set_up
void {name}_set_up(void);
void {name}_invoke(const int8_t *in, int8_t *out);
#ifdef __cplusplus
}}
#endif
"""


def _compile(
    library: Library, sources: Mapping[str, str], name: str, folder: Path, options: Options
) -> tuple[Path, ...]:
    for file, text in sources.items():
        (folder / file).write_text(text, encoding="utf-8")
    machine = library.machine
    cpu = [flag for flag in machine.flags if flag.startswith("-m")]
    names = (*names_of(name), f"-I{folder}", f"-I{TARGETS}", f"-I{TARGETS / 'tflm'}")
    objects = []
    for source in (TARGETS / "tflm" / "interpreted.cc", folder / f"{name}_model_data.cc"):
        target = folder / f"{source.name}.o"
        flags = (*cpu, *options.optimize, *_CPP, *STRICT, *library.compile_flags, *names)
        compiler = f"{machine.prefix}g++"
        run_tool(f"{machine.name}: {source.name}", (compiler, *flags, "-c", source, "-o", target))
        objects.append(target)
    return tuple(objects)


def _arena(library: Library, folder: Path, arena: int) -> Path:
    machine, target = library.machine, folder / f"arena_{arena}.o"
    flags = (*machine.flags, "-O2", *STRICT, f"-DARENA_BYTES={arena}")
    source = TARGETS / "tflm" / "arena.c"
    run_tool(f"{machine.name}: arena.c", (machine.compiler, *flags, "-c", source, "-o", target))
    return target


def _acceptance(library: Library, model: Model, options: Options) -> Callable[[int], bool]:
    """Whether a program sets the model up in an arena of so many bytes."""
    machine = library.machine
    elf = link(machine, model, (*machine.start, "tflm/probe.c", "semihosting.c"), "probe.elf")

    def accepts(size: int) -> bool:
        (model.folder / "arena.bin").write_bytes(size.to_bytes(4, "little"))
        return run_program(machine, elf, model.folder, options, ("0", "0"))[0] == _ACCEPTED

    return accepts


@contextmanager
def arena_probe(
    library: Library, sources: Mapping[str, str], name: str, sizes: tuple[int, int], options: Options | None = None,
    *, largest: int = _LARGEST,
) -> Iterator[Callable[[int], bool]]:  # fmt: skip
    """Whether a model of one input and one output can be set up in an arena of so many bytes, asked as often as needed.

    Args:
        library: as of :func:`interpreted`, like the sources, the name and the options.
        sources: of the model.
        name: of it.
        sizes: bytes of its input and of its output.
        options: of the run.
        largest: bytes, the most that may be asked for.

    Raises:
        DidNotBuild: the sources do not compile, or the program does not fit.
    """
    options = options or Options()
    with tempfile.TemporaryDirectory(prefix="arena-") as temporary:
        folder = Path(temporary)
        texts = {**sources, f"{name}_model.h": _model_header(name, sizes, (1, 1), 0)}
        objects = _compile(library, texts, name, folder, options)
        yield _acceptance(library, Model(name, folder, (*objects, _arena(library, folder, largest))), options)


def smallest_arena(accepts: Callable[[int], bool], where: str, largest: int = _LARGEST) -> int:
    """Bytes, by bisection: what ``arena_used_bytes`` says understates what setting up needs at its peak.

    Args:
        accepts: whether so many are enough.
        where: for whom, in the error.
        largest: bytes that are tried.

    Raises:
        DidNotBuild: not even these are enough.
    """
    low, high = 0, largest
    if not accepts(high):
        raise DidNotBuild(where=where, expected=f"an arena of {high:,} bytes to be enough", got="a refusal")
    while high - low > _STEP:
        middle = (low + high) // 2 // _STEP * _STEP
        low, high = (low, middle) if accepts(middle) else (middle, high)
    return high
