"""Which TFLite Micro a project asks for: exactly one, a record each.

A newer one may compute other codes, or need a larger arena, without a word: so no project asks for the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.boards import Arduino, Board, CMake, EspIdf, MakersSdk, PlatformIO, Zephyr
from qtorch.editions.edition import Edition
from qtorch.errors import BadConfiguration

__all__ = ["PINS", "Pin", "pin_words"]


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


def pin_words(board: Board, edition: Edition | None = None) -> dict[str, str]:
    """What templates call the packages of a board's project.

    Args:
        board: whose ecosystem has the packages.
        edition: that the model is exact on; ``None``: the one that such a project asks for anyway.

    Raises:
        BadConfiguration: a project of that kind can't ask for the edition, and would run another.
    """
    if isinstance(board.ecosystem, MakersSdk):
        pins: tuple[Pin, ...] = (Pin(board.ecosystem.address, board.ecosystem.tflm, "the board's record"),)
    else:
        pins = PINS[type(board.ecosystem)]
    library, *beside = pins if edition is None else _of_edition(board, pins, edition)
    words = {"tflm_package": library.package, "tflm_version": library.version}
    for pin in beside:
        words |= {"beside_package": pin.package, "beside_version": pin.version}
    return words


def _of_edition(board: Board, usual: tuple[Pin, ...], edition: Edition) -> tuple[Pin, ...]:
    library, *beside = usual
    # An edition may name a repository without its host, or a library without its owner, and a few digits of a commit.
    name = library.package.removeprefix("https://github.com/")
    names = (name, name.partition("/")[2] if isinstance(board.ecosystem, PlatformIO) else name)
    same = edition.package in names and bool(edition.version)
    if same and library.version.startswith(edition.version):
        return usual
    # A maker's SDK has one TFLite Micro for each name; a version beside it has to be known, too.
    if not same or isinstance(board.ecosystem, MakersSdk) or (beside and not edition.beside):
        raise BadConfiguration(
            where="export.firmware",
            expected=f"an edition that a project of {type(board.ecosystem).__name__} can ask for: {library.package} "
            f"{library.version}" + ("" if isinstance(board.ecosystem, MakersSdk) else ", or another version of it"),
            got=f"{edition.name}, {edition.description}: the project would compute with another one",
            remedy="leave export.tflm out, or leave export.firmware out and build the files with the TFLite Micro that "
            "you have",
        )
    return (
        Pin(library.package, edition.version, edition.facts),
        *(Pin(pin.package, edition.beside, edition.facts) for pin in beside),
    )
