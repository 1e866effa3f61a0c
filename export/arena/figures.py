"""The arena that a file needs, by kernel library and processor: what a header lets the compiler choose from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from export.arena.arena import arena_needed
from export.arena.cmsis_nn import cmsis_nn
from export.arena.esp_nn import esp_nn
from export.arena.kernels import Kernels
from export.arena.reference import RULES
from qtorch.editions.edition import Edition, Library

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


def arena_figures(model: bytes, edition: Edition | None = None) -> tuple[ArenaFigure, ...]:
    """Of 32-bit processors: reference kernels, then each library's processors in the order in which to ask for them.

    Args:
        model: a .tflite file.
        edition: that it is for: its library has the release of that day. Of a library that it hasn't got, and without
            one, the figure covers releases that a build may have today.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    figures = [ArenaFigure("", "", REFERENCE.about, arena_needed(model, REFERENCE))]
    for library, processors in (
        ("CMSIS_NN", cmsis_nn(_day(edition, "cmsis_nn"))),
        ("ESP_NN", esp_nn(_day(edition, "esp_nn"))),
    ):
        for builds in processors:
            needed = max(arena_needed(model, kernels) for kernels in builds)
            figures.append(ArenaFigure(library, builds[0].condition, builds[0].about, needed))
    return tuple(figures)


def _day(edition: Edition | None, library: Library) -> date | None:
    return edition.library_source if edition is not None and edition.library == library else None
