"""Which TFLite Micro a project asks for: exactly one, a record each.

A newer one may compute other codes, or need a larger arena, without a word: so no project asks for the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.boards import Arduino, Board, CMake, EspIdf, MakersSdk, PlatformIO, Zephyr
from export.boards.usual_editions import USUAL_EDITIONS
from qtorch.editions.edition import Edition
from qtorch.editions.known import EDITIONS

__all__ = ["PINS", "Pin", "pin_words", "project_edition"]


@dataclass(frozen=True)
class Pin:
    """One package, in exactly one version.

    Attributes:
        package: as the ecosystem's package manager spells it; a repository's address where there is no manager.
        version: likewise; of a repository its commit.
        facts: who says that there is such a one, and why this.
    """

    package: str
    version: str
    facts: str


_CHIRALE = (
    "library.properties of its repository: version 2.0.0, for mbed_nano, esp32, mbed_nicla, mbed_portenta, mbed_giga"
)

#: By the kind of a board's ecosystem: TFLite Micro, and behind it what the project asks for beside it. A maker's SDK
#: comes with a TFLite Micro, whose name stands in the board's record.
PINS: Mapping[type[Any], tuple[Pin, ...]] = {
    Arduino: (Pin("Chirale_TensorFLowLite", "2.0.0", _CHIRALE),),
    PlatformIO: (Pin("spaziochirale/Chirale_TensorFLowLite", "2.0.0", _CHIRALE),),
    EspIdf: (
        Pin(
            "espressif/esp-tflite-micro",
            "1.4.0",
            "component registry; from 1.3.7 on its convolutions tell ESP-NN the filter's depth, without which they are "
            "plain C (esp-nn#26)",
        ),
        Pin(
            "espressif/esp-nn",
            "1.2.3",
            "component registry; esp-tflite-micro takes any from 1.1.1 on. The newest whose sources were read as a "
            "whole: what it computes otherwise is known, of newer ones it is not",
        ),
    ),
    Zephyr: (
        Pin(
            "tflite-micro",
            "fcc760af130f3a595b5802cdebcc77461e54f382",
            "the module's branch zephyr-v4.4.0, TFLite Micro of February 2026",
        ),
        Pin("zephyr", "v4.4.0", "the release that the module's branch is named for"),
    ),
    CMake: (
        Pin(
            "https://github.com/tensorflow/tflite-micro",
            "90b983c2b3f1480642e040bbd2ddb37b998f3424",
            "main of 2026-08-20, whose Makefile and headers the project is written for",
        ),
    ),
}


def project_edition(board: Board, edition: Edition) -> Edition:
    """The edition that a board's project asks for: the one of an export, where the board's ecosystem distributes it.

    Args:
        board: whose project it is.
        edition: that the export is for.
    """
    if _distributes(board, edition):
        return edition
    if isinstance(board.ecosystem, MakersSdk):
        return EDITIONS[board.edition]
    return EDITIONS[USUAL_EDITIONS[type(board.ecosystem).__name__]]


def pin_words(board: Board, edition: Edition | None = None) -> dict[str, str]:
    """What templates call the packages of a board's project.

    Args:
        board: whose project it is.
        edition: that the export is for; ``None``: the one that the ecosystem's projects ask for.
    """
    if isinstance(board.ecosystem, MakersSdk):
        return {"tflm_package": board.ecosystem.address, "tflm_version": board.ecosystem.tflm}
    library, *beside = PINS[type(board.ecosystem)]
    words = {"tflm_package": library.package, "tflm_version": library.version}
    for pin in beside:
        words |= {"beside_package": pin.package, "beside_version": pin.version}
    if edition is not None and edition.beside and _distributes(board, edition):
        words |= {"tflm_version": edition.version, "beside_version": edition.beside}
    return words


def _distributes(board: Board, edition: Edition) -> bool:
    """Whether a project of the board's ecosystem can ask for an edition."""
    match board.ecosystem:
        case EspIdf() | Zephyr() as ecosystem:
            # Zephyr's module and the Python package are called alike.
            return bool(edition.beside) and edition.package == PINS[type(ecosystem)][0].package
        case CMake(cortex_m):
            return edition.name == "tflm" or (edition.name == "tflm-cmsis-nn" and cortex_m is not None)
        case Arduino() | PlatformIO() as ecosystem:
            return edition.name == USUAL_EDITIONS[type(ecosystem).__name__]
        case MakersSdk():
            if edition.name == board.edition:
                return True
            # With and without a kernel library it is one package, and the README says which of both.
            usual = EDITIONS[board.edition]
            return (edition.package, edition.version) == (usual.package, usual.version)
