"""The arena that a file needs, by kernel library and processor: what a header lets the compiler choose from."""

from __future__ import annotations

from dataclasses import dataclass

from export.arena.arena import arena_needed
from export.arena.cmsis_nn import CMSIS_NN
from export.arena.kernels import Kernels
from export.arena.reference import RULES

__all__ = ["ArenaFigure", "arena_figures"]

REFERENCE = Kernels("reference", "Reference kernels on any 32-bit processor", RULES)


@dataclass(frozen=True)
class ArenaFigure:
    """One of them.

    Attributes:
        library: the macro that stands for the kernel library; empty for TFLite Micro's reference kernels.
        condition: for the preprocessor, which of the library's processors; empty for those that are left.
        about: in words.
        arena_bytes: a multiple of 16.
    """

    library: str
    condition: str
    about: str
    arena_bytes: int


def arena_figures(model: bytes) -> tuple[ArenaFigure, ...]:
    """Of 32-bit processors: reference kernels, then each library's processors in the order in which to ask for them.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    figures = [ArenaFigure("", "", REFERENCE.about, arena_needed(model, REFERENCE))]
    for builds in CMSIS_NN:
        needed = max(arena_needed(model, kernels) for kernels in builds)
        figures.append(ArenaFigure("CMSIS_NN", builds[0].condition, builds[0].about, needed))
    return tuple(figures)
