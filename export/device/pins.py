"""Which TFLite Micro a project asks for: exactly one, a record each.

A newer one may compute other codes, or need a larger arena, without a word: so no project asks for the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.boards import Arduino, Board, CMake, EspIdf, MakersSdk, PlatformIO, Zephyr

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


def pin_words(board: Board) -> dict[str, str]:
    """What templates call the packages of a board's project."""
    if isinstance(board.ecosystem, MakersSdk):
        return {"tflm_package": board.ecosystem.address, "tflm_version": board.ecosystem.tflm}
    library, *beside = PINS[type(board.ecosystem)]
    words = {"tflm_package": library.package, "tflm_version": library.version}
    for pin in beside:
        words |= {"beside_package": pin.package, "beside_version": pin.version}
    return words
