"""``<name>_arena.h``: the memory that the interpreter needs, of which the compiler takes the figure of its build."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from export.arena.figures import ArenaFigure
from export.c_language.names import c_identifier
from export.c_language.text import close_guard, comment, open_guard, quoted

__all__ = ["arena"]

#: TFLM rounds its arena's start up to this many bytes (``MicroArenaBufferAlignment``).
_ALIGNMENT = 16
#: Which processors a kernel library is made for; elsewhere a build can't have it.
_PROCESSORS = {"CMSIS_NN": "defined(__arm__)", "ESP_NN": "defined(__XTENSA__) || defined(__riscv)"}
#: What says that a build has the library: the macro of TFLite Micro's own builds, and those of frameworks.
_SAID = {
    "CMSIS_NN": "defined(CMSIS_NN) || defined(CONFIG_TENSORFLOW_LITE_MICRO_CMSIS_NN_KERNELS)",
    "ESP_NN": "defined(ESP_NN)",
}


def arena(
    name: str, arena_bytes: int, word_bits: int, engine: str, figures: Sequence[ArenaFigure] = (), plan: str = ""
) -> str:
    """``<NAME>_ARENA_BYTES``.

    Args:
        name: the model's, any string.
        arena_bytes: measured need with reference kernels; rounded up to a multiple of 16.
        word_bits: pointer size of the machine that measured, 32 or 64.
        engine: version of TFLite Micro that measured.
        figures: of 32-bit processors, by kernel library. Without any, all builds take the measured one, and nothing is
            said of inputs.
        plan: what the file says of where tensors lie, in words; empty where it says nothing.

    Raises:
        ValueError: ``arena_bytes`` is not positive.
    """
    if arena_bytes <= 0:
        raise ValueError(f"arena: expected a positive number of bytes, got {arena_bytes}")
    name = c_identifier(name)
    rounded = -(-arena_bytes // _ALIGNMENT) * _ALIGNMENT
    measured = (
        f"The smallest arena that AllocateTensors accepts, rounded up to a multiple of {_ALIGNMENT}. Found by search "
        f"on a {word_bits}-bit machine, in TFLite Micro {quoted(engine)} with the reference kernels."
    )
    macro, keeps = f"{name.upper()}_ARENA_BYTES", f"{name.upper()}_KEEPS_INPUTS"
    constants = [f"{name}_arena_bytes = {macro}"]
    if figures:
        about = (
            "The memory that TFLite Micro's interpreter needs. Kernel libraries ask for working memory inside of it, "
            "each processor's kernels for another amount; so there is a figure for each, and the compiler takes that "
            "of its build.\n"
            "Where pointers have 32 bits the figures are computed, not measured: what AllocateTensors of TFLite Micro "
            "(2023 to August 2026) allocates and plans, with the scratch buffers that the size functions of CMSIS-NN "
            "and ESP-NN give, in the releases that are named at each figure. They are a little larger than the need: "
            "structures differ between releases.\n"
            "Define CMSIS_NN where TFLite Micro was built with CMSIS-NN, ESP_NN where it was built with ESP-NN, "
            "TFLM_REFERENCE_KERNELS where it was built without a library. A build that says nothing gets the largest "
            f"figure of its processor. {macro} may also be defined beforehand.\n"
            + (f"{plan[0].upper()}{plan[1:]}.\n" if plan else "")
            + f"{keeps} is 1 where an inference leaves the inputs as they were. Where it is 0, TFLite Micro puts later "
            "tensors into their memory: fill all inputs before each inference, or the next one computes something else."
        )
        chosen = _chosen((macro, keeps), rounded, measured, figures)
        constants.append(f"{name}_keeps_inputs = {keeps}")
    else:
        about = f"{measured}\nOptimized kernels, such as CMSIS-NN's, may ask for scratch buffers on top."
        chosen = f"#define {macro} {rounded}"
    return f"""\
{_paragraphs(about)}
//
// The arena must begin at a multiple of {_ALIGNMENT}: alignas({_ALIGNMENT}) uint8_t arena[{macro}];
{open_guard(f"{name}_arena")}
{chosen}
enum {{ {", ".join(constants)} }};
{close_guard(f"{name}_arena")}"""


def _paragraphs(text: str) -> str:
    return "\n//\n".join(comment(each) for each in text.split("\n"))


def _chosen(macros: tuple[str, str], measured_bytes: int, measured: str, figures: Sequence[ArenaFigure]) -> str:
    """The preprocessor's choice among all of them, of the arena's bytes and of whether inputs are kept."""
    macro, keeps = macros
    reference = next(each for each in figures if not each.library)
    libraries = {
        library: tuple(group) for library, group in groupby((f for f in figures if f.library), key=lambda f: f.library)
    }
    lines = [
        "#include <stdint.h>",
        "#if defined(ESP_PLATFORM)",
        "// Says which of Espressif's processors it is.",
        '#include "sdkconfig.h"',
        "#endif",
        "",
        f"#if defined({macro})",
        "// As whoever compiles says, with whatever kernels.",
        f"#ifndef {keeps}",
        f"#define {keeps} {int(all(each.keeps_inputs for each in figures))}",
        "#endif",
        "#elif UINTPTR_MAX > 0xffffffffu",
    ]
    lines += [comment(measured), *_defined(macros, measured_bytes, reference.keeps_inputs)]
    for library, group in libraries.items():
        refused = next((each.refused for each in group if each.refused), "")
        lines += [
            f"#elif {_SAID[library]}",
            *([comment(refused)] if refused else []),
            *_by_processor(macros, group, None),
        ]
    of_reference = [comment(f"{reference.about}."), *_defined(macros, reference.arena_bytes, reference.keeps_inputs)]
    lines += ["#elif defined(TFLM_REFERENCE_KERNELS)", *of_reference]
    for library, group in libraries.items():
        lines += [
            f"#elif {_PROCESSORS[library]}",
            "// The build does not say with which kernels: enough for all of this processor.",
            *_by_processor(macros, group, reference),
        ]
    lines += ["#else", *of_reference, "#endif"]
    return "\n".join(lines)


def _defined(macros: tuple[str, str], arena_bytes: int, keeps_inputs: bool) -> list[str]:
    return [f"#define {macros[0]} {arena_bytes}", f"#define {macros[1]} {int(keeps_inputs)}"]


def _by_processor(macros: tuple[str, str], figures: Sequence[ArenaFigure], reference: ArenaFigure | None) -> list[str]:
    """A figure for each of a library's processors, the last of which has no condition; enough for reference kernels
    too, if there may be those."""
    lines = []
    for number, figure in enumerate(figures):
        if len(figures) > 1:
            lines.append("#else" if not figure.condition else f"#{'el' if number else ''}if {figure.condition}")
        both = [figure] if reference is None else [figure, reference]
        needed, kept = max(each.arena_bytes for each in both), all(each.keeps_inputs for each in both)
        lines += [comment(f"{figure.about}."), *_defined(macros, needed, kept)]
    return [*lines, "#endif"] if len(figures) > 1 else lines
