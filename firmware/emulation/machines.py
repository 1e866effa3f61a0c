"""The machines that generated C can run on: how to compile for them, how to run them, what must be installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

__all__ = [
    "ARDUINO",
    "AVR_TOOLS",
    "FREESTANDING",
    "MACHINES",
    "ROOMIER",
    "SAME_CORE",
    "Machine",
    "Need",
    "available",
    "missing",
    "plugin_needs",
]

#: Where Debian's arduino-core-avr puts the core that Arduino's own IDE compiles.
ARDUINO = Path("/usr/share/arduino/hardware/arduino/avr")

_KIB, _MIB = 1024, 1024 * 1024


@dataclass(frozen=True)
class Need:
    """A program (found by name) or a file (found by absolute path), and the Debian package that has it."""

    what: str
    package: str

    def met(self) -> bool:
        """Whether it is there."""
        return Path(self.what).exists() if self.what.startswith("/") else shutil.which(self.what) is not None


_GCC = Need("gcc", "gcc")
_ARM = (
    Need("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
    Need("qemu-system-arm", "qemu-system-arm"),
    # No library of it is linked: the compiler's stdint.h includes this one.
    Need("/usr/lib/arm-none-eabi/include/stdint.h", "libnewlib-arm-none-eabi"),
)
_RISCV = (
    Need("riscv64-unknown-elf-gcc", "gcc-riscv64-unknown-elf"),
    Need("qemu-system-riscv32", "qemu-system-misc"),
    # The compiler alone has no stdint.h that works outside -ffreestanding.
    Need("/usr/lib/picolibc/riscv64-unknown-elf/include/stdint.h", "picolibc-riscv64-unknown-elf"),
)
_XTENSA = (
    Need("xtensa-lx106-elf-gcc", "gcc-xtensa-lx106"),
    Need("qemu-system-xtensa", "qemu-system-misc"),
    # No library of it is linked: the compiler's stdint.h includes this one.
    Need("/usr/lib/xtensa-lx106-elf/include/stdint.h", "picolibc-xtensa-lx106-elf"),
)
#: A simulator for AVR is a program built here, on the host.
AVR_TOOLS = (
    _GCC,
    Need("avr-gcc", "gcc-avr"),
    Need("avr-size", "binutils-avr"),
    Need("/usr/lib/avr/include/avr/io.h", "avr-libc"),
    Need("/usr/include/simavr/sim_avr.h", "libsimavr-dev"),
    Need("/usr/include/libelf.h", "libelf-dev"),
)


@dataclass(frozen=True)
class Machine:
    """A processor with its memory, and the tools that stand for it here.

    Attributes:
        name: key in :data:`MACHINES`.
        description: for people.
        kind: what runs the program.
        prefix: of the compiler and its binutils, ``""`` for the host's own.
        flags: for compiling and linking, beside the optimization.
        emulator: the command that runs a program (whose path follows), or for simavr microcontroller and clock in Hz.
        start: sources under firmware/targets that any program needs.
        rig: sources that a replay needs beside them.
        link: flags for linking alone; ``{targets}`` is the folder firmware/targets.
        ram: bytes of data and stack, where nothing else notices that they meet.
        unit: what a cost counts; ``None`` where nothing counts.
        ticks_per_unit: of the counter that the program reads.
        turn: ticks from which on the counter has turned once, and by each turn cost ``turn_cost`` units; 0: never.
        turn_cost: see ``turn``.
        needs: programs and files.
    """

    name: str
    description: str
    kind: Literal["host", "qemu", "simavr"]
    prefix: str
    flags: tuple[str, ...]
    emulator: tuple[str, ...]
    start: tuple[str, ...]
    rig: tuple[str, ...]
    link: tuple[str, ...]
    needs: tuple[Need, ...]
    ram: int | None = None
    unit: Literal["instructions", "cycles"] | None = None
    ticks_per_unit: Fraction = field(default=Fraction(1))
    turn: int = 0
    turn_cost: int = 0

    @property
    def cpu(self) -> str:
        """The processor, as exports for a board name it."""
        if self.kind == "simavr":
            return "avr"
        return self.name.replace("_", "-") if self.name.startswith("cortex") else self.name.split("_")[0]

    @property
    def compiler(self) -> str:
        """The C compiler's command."""
        return f"{self.prefix}gcc"

    @property
    def size(self) -> str:
        """The command that weighs a program."""
        return f"{self.prefix}size"


def missing(needs: tuple[Need, ...], purpose: str) -> str | None:
    """Why ``purpose`` can't be had, with the remedy; ``None`` if all is there."""
    absent = [need for need in needs if not need.met()]
    if not absent:
        return None
    packages = " ".join(dict.fromkeys(need.package for need in absent))
    return f"{purpose} needs {', '.join(need.what for need in absent)}: apt-get install {packages}"


def plugin_needs(machine: Machine) -> tuple[Need, ...]:
    """What tells instructions apart on a machine of QEMU's: the host's compiler, and what reads a program."""
    package = next(need.package for need in machine.needs if need.what == machine.compiler)
    binutils = f"binutils-{machine.prefix.rstrip('-')}" if machine.prefix else package
    return (_GCC, *(Need(f"{machine.prefix}{tool}", binutils) for tool in ("nm", "objdump")))


def available(machine: Machine) -> str | None:
    """``None`` if ``machine`` can be used here, else what is absent and which packages bring it."""
    return missing(machine.needs, machine.name)


#: Semihosting opens files in the working folder and passes the exit code on; nothing is shown and nothing listens.
_SEMIHOSTING = (
    *("-display", "none", "-monitor", "none", "-serial", "none", "-chardev", "stdio,id=host"),
    *("-semihosting-config", "enable=on,target=native,chardev=host"),
)
#: The rigs' own loops must not become calls of memcpy, and nothing of a C library is linked.
FREESTANDING = ("-ffreestanding", "-fno-tree-loop-distribute-patterns")


def _host(name: str, description: str, *flags: str) -> Machine:
    return Machine(
        name, description, "host", "", ("-std=c99", *flags), (), (), ("replay.c", "host/host.c"), (), (_GCC,)
    )


def _cortex_m(
    name: str, cpu: str, board: str, clock_hz: int, flash: int, ram: int, *flags: str,
    flash_origin: int = 0, ram_origin: int = 0x2000_0000,
) -> Machine:  # fmt: skip
    """A Cortex-M on one of QEMU's boards; ``clock_hz`` is what the board gives SysTick."""
    shift = 8  # one instruction takes 2**shift ns: then one instruction is several ticks, and their count is exact
    return Machine(
        name=name,
        description=f"{cpu} on QEMU's {board}",
        kind="qemu",
        prefix="arm-none-eabi-",
        flags=("-std=c99", f"-mcpu={cpu}", "-mthumb", *flags),
        emulator=("qemu-system-arm", "-M", board, *_SEMIHOSTING, "-icount", f"shift={shift}", "-kernel"),
        start=("cortex_m/start.c", "memory.c"),
        rig=("replay.c", "painted_stack.c", "semihosting.c", "cortex_m/count.c"),
        link=(
            *("-nostdlib", "-T", "{targets}/cortex_m/cortex_m.ld"),
            *(f"-Wl,--defsym=ROM_BYTES={flash}", f"-Wl,--defsym=RAM_BYTES={ram}"),
            *(f"-Wl,--defsym=ROM_ORIGIN={flash_origin:#x}", f"-Wl,--defsym=RAM_ORIGIN={ram_origin:#x}"),
        ),
        needs=_ARM,
        unit="instructions",
        ticks_per_unit=Fraction(clock_hz * 2**shift, 10**9),
        turn=2**24,
        turn_cost=5,  # the instructions of start_tick
    )


def _avr(name: str, description: str, mcu: str, ram: int) -> Machine:
    clock = "16000000"
    return Machine(
        name=name,
        description=description,
        kind="simavr",
        prefix="avr-",
        flags=("-std=c99", f"-mmcu={mcu}", f"-DF_CPU={clock}UL"),
        emulator=(mcu, clock),
        start=(),
        rig=("avr/replay.c",),
        link=(),
        needs=AVR_TOOLS,
        ram=ram,
        unit="cycles",
    )


MACHINES: dict[str, Machine] = {
    machine.name: machine
    for machine in (
        _host("host", "this machine"),
        _host(
            "host_sanitized",
            "this machine, stopping at the first undefined behaviour",
            *("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
        ),
        _cortex_m("cortex_m0", "cortex-m0", "microbit", 16_000_000, 256 * _KIB, 16 * _KIB),
        _cortex_m("cortex_m3", "cortex-m3", "mps2-an385", 25_000_000, 4 * _MIB, 4 * _MIB),
        _cortex_m("cortex_m4", "cortex-m4", "mps2-an386", 25_000_000, 4 * _MIB, 4 * _MIB, "-mfloat-abi=hard"),
        _cortex_m("cortex_m7", "cortex-m7", "mps2-an500", 25_000_000, 4 * _MIB, 4 * _MIB, "-mfloat-abi=hard"),
        # A Cortex-M33 begins in secure state, for which this board has memory at addresses of its own.
        _cortex_m(
            *("cortex_m33", "cortex-m33", "mps2-an505", 20_000_000, 4 * _MIB, 4 * _MIB, "-mfloat-abi=hard"),
            flash_origin=0x1000_0000,
            ram_origin=0x3800_0000,
        ),
        _cortex_m("cortex_m55", "cortex-m55", "mps3-an547", 32_000_000, 512 * _KIB, 512 * _KIB, "-mfloat-abi=hard"),
        Machine(
            name="riscv32",
            description="rv32imac on QEMU's virt board",
            kind="qemu",
            prefix="riscv64-unknown-elf-",
            # Named as its libgcc is: with _zicsr the compiler would link the one of 64 bits, and find nothing in it.
            flags=("-std=c99", "-march=rv32imac", "-mabi=ilp32", "--specs=picolibc.specs"),
            emulator=(
                *("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_SEMIHOSTING),
                *("-icount", "shift=0", "-kernel"),
            ),
            start=("riscv/start.c", "memory.c"),
            rig=("replay.c", "painted_stack.c", "semihosting.c", "riscv/count.c"),
            link=(
                *("-nostdlib", "-T", "{targets}/riscv/virt.ld"),
                *(f"-Wl,--defsym=ROM_BYTES={4 * _MIB}", f"-Wl,--defsym=RAM_BYTES={4 * _MIB}"),
            ),
            needs=_RISCV,
            unit="instructions",
        ),
        # The Xtensa core that Debian has a compiler for, an ESP8266's. What those of ESP32 and ESP32-S3 have beside:
        # register windows, loops without jumps, the upper half of a product, quotients, and the S3's vectors.
        Machine(
            name="lx106",
            description="Xtensa LX106, call0 ABI, on QEMU's sim machine",
            kind="qemu",
            prefix="xtensa-lx106-elf-",
            flags=("-std=c99", "-mtext-section-literals", "-mlongcalls"),
            emulator=(
                "qemu-system-xtensa",
                "-M",
                "sim",
                "-cpu",
                "lx106",
                *_SEMIHOSTING,
                "-icount",
                "shift=7",
                "-kernel",
            ),
            start=("xtensa/start.c", "xtensa/rom.c", "memory.c"),
            rig=("replay.c", "painted_stack.c", "xtensa/simcall.c", "xtensa/count.c"),
            link=(
                *("-nostdlib", "-T", "{targets}/xtensa/sim.ld"),
                *(f"-Wl,--defsym=ROM_BYTES={4 * _MIB}", f"-Wl,--defsym=RAM_BYTES={4 * _MIB}"),
            ),
            needs=_XTENSA,
            unit="instructions",
            ticks_per_unit=Fraction(40_000_000 * 2**7, 10**9),
            turn=2**32,
            turn_cost=15,  # start_exception has 14 instructions; QEMU counts one more for the interrupt
        ),
        _avr("atmega328p", "ATmega328P of an Arduino Uno, 16 MHz", "atmega328p", 2 * _KIB),
        _avr("atmega32u4", "ATmega32U4 of an Arduino Leonardo, 16 MHz", "atmega32u4", 2560),
    )
}

#: Where a program runs that a machine's board can't hold though others with its processor can: a Cortex-M3 executes the
#: instructions of a Cortex-M0, and the name is that of the machine for which it stands.
ROOMIER: dict[str, Machine] = {
    "cortex_m0": replace(
        MACHINES["cortex_m3"],
        name="cortex_m0",
        description="cortex-m0 on QEMU's mps2-an385, whose Cortex-M3 executes its instructions",
        flags=MACHINES["cortex_m0"].flags,
    ),
}

#: The same core in a chip with more memory and a program counter of as many bits: it judges what a chip can't hold.
SAME_CORE: dict[str, Machine] = {
    name: _avr(name, f"{name}'s core in an ATmega1284P, which has 16 KiB of RAM, 16 MHz", "atmega1284p", 16 * _KIB)
    for name in ("atmega328p", "atmega32u4")
}
