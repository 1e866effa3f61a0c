"""What a build system has to be told of a board, a record for each; which record a board has decides its project."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qtorch.errors import BadConfiguration

__all__ = ["Arduino", "CMake", "CortexM", "Ecosystem", "EspIdf", "MakersSdk", "PlatformIO", "Zephyr"]


def _require_word(where: str, value: object) -> None:
    """Names stand in commands and manifests: an empty one, or one of two words, would be found on the desk alone."""
    if not isinstance(value, str) or not re.fullmatch(r"\S+", value):
        raise BadConfiguration(
            where=where,
            expected="a name without blanks",
            got=repr(value),
            remedy=f"give {where} as the build system spells it",
        )


@dataclass(frozen=True)
class CortexM:
    """A Cortex-M that runs no operating system: how it is compiled for, linked and emulated.

    Attributes:
        qemu: the machine's name in QEMU.
        flags: of the compiler; those that upstream's Makefile uses for ``TARGET_ARCH`` of that name.
        flash_origin: where program and constants lie, among them the vector table.
        ram_origin: where data lies.
    """

    qemu: str
    flags: str
    flash_origin: int = 0
    ram_origin: int = 0x2000_0000

    def __post_init__(self) -> None:
        _require_word("CortexM.qemu", self.qemu)
        if not self.flags.strip():
            raise BadConfiguration(
                where="CortexM.flags",
                expected="the compiler's flags for the processor",
                got=repr(self.flags),
                remedy="give -mcpu and -mfloat-abi, as the library of TFLite Micro is compiled",
            )


@dataclass(frozen=True)
class CMake:
    """A board in plain CMake.

    Attributes:
        cortex_m: what the program is made for; ``None``: the machine that compiles it.
    """

    cortex_m: CortexM | None = None


@dataclass(frozen=True)
class Arduino:
    """A board in an Arduino library, which holds no name of it: that is chosen where the sketch is compiled.

    Attributes:
        package: of the board, as the Boards Manager of Arduino's IDE lists it; empty: the README names none.
    """

    package: str = ""


@dataclass(frozen=True)
class EspIdf:
    """A board in ESP-IDF.

    Attributes:
        target: as ``idf.py set-target`` takes it.
    """

    target: str

    def __post_init__(self) -> None:
        _require_word("EspIdf.target", self.target)


@dataclass(frozen=True)
class PlatformIO:
    """A board in PlatformIO, with Arduino's framework.

    Attributes:
        platform: in PlatformIO's registry.
        board: of that platform.
    """

    platform: str
    board: str

    def __post_init__(self) -> None:
        _require_word("PlatformIO.platform", self.platform)
        _require_word("PlatformIO.board", self.board)


@dataclass(frozen=True)
class Zephyr:
    """A board in Zephyr.

    Attributes:
        board: as ``west build -b`` takes it.
        sdk: address of the repository that a maker's own Zephyr begins with, where that one alone knows the board.
    """

    board: str
    sdk: str = ""

    def __post_init__(self) -> None:
        _require_word("Zephyr.board", self.board)
        if self.sdk:
            _require_word("Zephyr.sdk", self.sdk)


@dataclass(frozen=True)
class MakersSdk:
    """A board in the SDK of its maker, which has a TFLite Micro and a build of its own: the project is sources for it.

    Attributes:
        address: of the SDK's repository or page.
        folder: of the SDK, which the project's folder is put into.
        tflm: the SDK's own name of the TFLite Micro that it builds, with its version.
    """

    address: str
    folder: str
    tflm: str

    def __post_init__(self) -> None:
        for field in ("address", "folder", "tflm"):
            _require_word(f"MakersSdk.{field}", getattr(self, field))


Ecosystem = CMake | Arduino | EspIdf | MakersSdk | PlatformIO | Zephyr
