"""The record of a board: all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from export.boards.ecosystem import Arduino, CMake, Ecosystem
from export.boards.memory import Memory
from export.boards.usual_editions import usual_edition
from qtorch.errors import BadConfiguration

__all__ = ["KIB", "MIB", "Board", "Cpu", "FlashWaits", "Supply"]

KIB, MIB = 1024, 1024 * 1024

#: Processors, by what decides: which kernels suit them, which faults a kernel library has there. A Cortex-M0+ counts as
#: ``cortex-m0``. Espressif's kernels are other ones on an ESP32-S3 and an ESP32-P4, which have vectors, than on the
#: other Xtensa and RISC-V cores: hence ``xtensa-s3`` and ``riscv32-p4``.
Cpu = Literal[
    "host",
    "avr",
    "cortex-m0",
    "cortex-m3",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "cortex-m85",
    "riscv32",
    "riscv32-p4",
    "xtensa",
    "xtensa-s3",
]


@dataclass(frozen=True)
class Supply:
    """What a processor takes while it computes; the board's regulator, LEDs and radio come on top.

    Attributes:
        milliamps: typical, at ``clock_hz`` and room temperature; taken to be proportional to the clock.
        volts: of the supply.
        clock_hz: at which the current was published; the board's own if ``None``.
        source: who says so.
    """

    milliamps: float
    volts: float
    clock_hz: int | None
    source: str


@dataclass(frozen=True)
class FlashWaits:
    """How long a program waits for the flash that it runs from, at the board's clock.

    Attributes:
        cycles: wait states of a read.
        hidden_by: what keeps a program from waiting for each: how many bytes a read brings, what is read in advance.
        source: who says so.
    """

    cycles: int
    hidden_by: str
    source: str


@dataclass(frozen=True)
class Board:
    """A target of an export.

    Attributes:
        name: what ``--export.target`` takes.
        description: for people.
        cpu: decides in which order weights are stored, and how a project is compiled.
        flash: bytes for program and constants, what a boot loader takes subtracted; ``None``: no limit worth checking.
        ram: bytes in all, the stack among them; ``None`` as above.
        ecosystem: whose project layout ``--export.firmware`` writes, and what the board is called there.
        clock_hz: of the processor, as the start-up code of the board's ecosystem sets it; ``None`` of the host alone.
        supply: published, or why there is none, in words.
        machine: key of :data:`firmware.emulation.MACHINES` that is the board's very microcontroller; ``None``: what is
            counted for it runs on whichever has its processor.
        tflm: whether TFLite Micro runs there.
        well_known: whether an export for no board in particular says what it would take of this one.
        edition: name of the TFLite Micro that runs there, of :data:`qtorch.editions.known.EDITIONS`; empty: the one
            that a project of its ecosystem asks for.
        second: another memory that working memory may lie in; ``ram`` does not count it.
        core: key of :data:`firmware.emulation.timings.TIMINGS`, where the board's processor takes other cycles than
            what its machine stands for.
        flash_waits: published wait states of its flash; ``None``: not at hand, or none.

    Raises:
        BadConfiguration: a field lacks what the ecosystem needs.
    """

    name: str
    description: str
    cpu: Cpu
    flash: int | None
    ram: int | None
    ecosystem: Ecosystem
    clock_hz: int | None = None
    supply: Supply | str = ""
    machine: str | None = None
    tflm: bool = True
    well_known: bool = False
    edition: str = ""
    second: Memory | None = None
    core: str = ""
    flash_waits: FlashWaits | None = None

    def __post_init__(self) -> None:
        if not self.edition:
            object.__setattr__(self, "edition", usual_edition(self.cpu, self.ecosystem))
        kinds = get_args(Ecosystem)
        if not isinstance(self.ecosystem, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise self._lacks("ecosystem", f"one of {names}", "say what the board is called there")
        if self.clock_hz is None and self.cpu != "host":
            raise self._lacks("clock_hz", "Hz of the processor", "give what the ecosystem's start-up code sets")
        if isinstance(self.ecosystem, CMake):
            self._require_linkable(self.ecosystem)

    def require_project(self) -> None:
        """See that a firmware project can be written for the board.

        Raises:
            BadConfiguration: TFLite Micro does not run there, and its ecosystem has no project in plain C.
        """
        if not self.tflm and not isinstance(self.ecosystem, Arduino):
            raise BadConfiguration(
                where="export.firmware",
                expected="a board that runs TFLite Micro, or one of Arduino's, whose project in plain C there is",
                got=f"{self.name}, with tflm=False and a project of {type(self.ecosystem).__name__}",
                remedy="leave export.firmware out, and put <name>_model.c and .h of export.c into a project of yours",
            )

    def _require_linkable(self, ecosystem: CMake) -> None:
        """CMake has no list of boards: what is not told here would be the project of the machine that compiles."""
        if self.cpu == "host":
            if ecosystem.cortex_m is not None:
                raise self._lacks("cpu", "the processor of ecosystem.cortex_m", "name it as its flags do")
            return
        if ecosystem.cortex_m is None:
            raise self._lacks(
                "ecosystem.cortex_m", f"the machine that a program for {self.cpu} is linked for", "give a CortexM"
            )
        if not self.cpu.startswith("cortex-m"):
            raise self._lacks("cpu", "a Cortex-M, as ecosystem.cortex_m is", "choose the ecosystem of its maker")
        for field in ("flash", "ram"):
            if getattr(self, field) is None:
                raise self._lacks(field, "bytes, which the linker script needs", "take them from the data sheet")

    def _lacks(self, field: str, expected: str, remedy: str) -> BadConfiguration:
        value: object = self
        for part in field.split("."):
            value = getattr(value, part)
        return BadConfiguration(
            where=f"board {self.name!r}: {field}", expected=expected, got=repr(value), remedy=remedy
        )
