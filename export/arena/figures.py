"""The arena that a file needs, by kernel library and processor: what a header lets the compiler choose from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from export.arena.arena import arena_needed
from export.arena.cmsis_nn import cmsis_nn
from export.arena.esp_nn import esp_nn
from export.arena.kernels import Kernels
from export.arena.reference import RULES
from export.arena.survival import inputs_survive
from qtorch.editions.edition import Edition, Library
from qtorch.editions.known import ZEPHYRS_OWN

__all__ = ["ArenaFigure", "Build", "arena_figures", "builds_of"]

REFERENCE = Kernels("reference", "Reference kernels on any 32-bit processor", RULES)


@dataclass(frozen=True)
class ArenaFigure:
    """One of them.

    Attributes:
        library: the macro that stands for the kernel library; empty for TFLite Micro's reference kernels.
        condition: for the preprocessor, which of the library's processors; empty for those that are left.
        about: in words.
        arena_bytes: a multiple of 16.
        keeps_inputs: whether an inference leaves all inputs as they were, so that another one may follow at once.
        refused: what of the file its kernels take no arena for, in words; empty if they take all of it.
    """

    library: str
    condition: str
    about: str
    arena_bytes: int
    keeps_inputs: bool = False
    refused: str = ""


def arena_figures(model: bytes, edition: Edition | None = None) -> tuple[ArenaFigure, ...]:
    """Of 32-bit processors: reference kernels, then each library's processors in the order in which to ask for them.

    Args:
        model: a .tflite file.
        edition: that it is for: its library has the release of that day. Of a library that it hasn't got, and without
            one, the figure covers releases that a build may have today.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    return tuple(
        ArenaFigure(
            each.library, each.condition, each.about, max(arena_needed(model, one) for one in each.kernels),
            all(inputs_survive(model, one) for one in each.kernels),
        )
        for each in builds_of(edition)
    )  # fmt: skip


@dataclass(frozen=True)
class Build:
    """A kernel library on a family of processors, as a header tells builds apart.

    Attributes:
        library: see :class:`ArenaFigure`, as the next two.
        condition: for the preprocessor.
        about: in words.
        kernels: releases and forms of the library that a build may have.
    """

    library: str
    condition: str
    about: str
    kernels: tuple[Kernels, ...]


def builds_of(edition: Edition | None = None) -> tuple[Build, ...]:
    """All builds that a header has figures for; see :func:`arena_figures`."""
    day = _day(edition, "cmsis_nn")
    own = ((), ZEPHYRS_OWN) if day is None or edition is None else (edition.reference,)
    libraries = (("CMSIS_NN", cmsis_nn(day, own)), ("ESP_NN", esp_nn(_day(edition, "esp_nn"))))
    return (
        Build("", "", REFERENCE.about, (REFERENCE,)),
        *(
            Build(library, kernels[0].condition, kernels[0].about, kernels)
            for library, processors in libraries
            for kernels in processors
        ),
    )


def _day(edition: Edition | None, library: Library) -> date | None:
    return edition.library_source if edition is not None and edition.library == library else None
