"""Which TFLite Micro a board has that names none: the one that a project of its ecosystem asks for."""

from __future__ import annotations

from export.boards.ecosystem import Ecosystem
from qtorch.editions.known import NEWEST

__all__ = ["USUAL_EDITIONS", "usual_edition"]

#: By the kind of ecosystem, as ``firmware/tflm/projects`` asks its package manager. In plain CMake it is the user's own
#: build, of which the reference kernels are the default.
USUAL_EDITIONS = {
    "Arduino": "chirale",
    "PlatformIO": "chirale",
    "EspIdf": "esp-tflite-micro-1.4.0",
    "Zephyr": "zephyr-4.4",
    "CMake": "tflm",
    "MakersSdk": "himax-sdk",
}


def usual_edition(cpu: str, ecosystem: Ecosystem) -> str:
    """The name of the edition of a board whose record names none.

    Args:
        cpu: of the board; the machine that compiles has the release that judges every export.
        ecosystem: of the board.
    """
    return NEWEST.name if cpu == "host" else USUAL_EDITIONS.get(type(ecosystem).__name__, NEWEST.name)
