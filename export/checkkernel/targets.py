"""Where kernels are checked: emulated machines, what they hold, and the registers that a callee keeps on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from export.checkkernel.drawing import Room
from firmware.emulation import MACHINES, Machine

__all__ = ["Target", "targets"]


@dataclass(frozen=True)
class Target:
    """A machine as a place to check kernels on.

    Attributes:
        machine: that runs the programs.
        cpu: whose kernels are checked, as boards name it.
        memory: bytes that a call may have at most; a program has them three times.
        room: of a case.
        constants: bytes of them that a program may have.
        calls: that a program may make.
        registers: file under firmware/targets that looks at them.
        spoiled: what its bits mean.
    """

    machine: Machine
    cpu: str
    memory: int
    room: Room
    constants: int
    calls: int
    registers: str
    spoiled: tuple[str, ...]


_ARM = (
    *(f"r{number}" for number in range(4, 12)), "sp", *(f"s{number}" for number in range(16, 32)), "modes of FPSCR",
    "masks of VPR",
)  # fmt: skip
_RISCV = (*(f"s{number}" for number in range(12)), "sp", "gp", "tp")
_AVR = (
    *(f"r{number}" for number in range(2, 18)),
    "r28",
    "r29",
    "r1 (zero)",
    "the stack pointer",
    "the interrupt flag",
)
_XTENSA = ("a12", "a13", "a14", "a15", "a1")
_X86 = ("rbx", "rbp", "r12", "r13", "r14", "r15", "the direction flag", "modes of MXCSR")

#: What targets are called, and the machines of theirs.
MACHINES_OF_TARGETS = {
    "host": "host",
    "host-sanitized": "host_sanitized",
    "cortex-m0": "cortex_m0",
    "cortex-m3": "cortex_m3",
    "cortex-m4": "cortex_m4",
    "cortex-m7": "cortex_m7",
    "cortex-m33": "cortex_m33",
    "cortex-m55": "cortex_m55",
    "rv32": "riscv32",
    "xtensa": "lx106",
    "avr": "atmega328p",
}


def targets() -> dict[str, Target]:
    """Every target by its name."""
    return {name: _target(MACHINES[machine]) for name, machine in MACHINES_OF_TARGETS.items()}


def _target(machine: Machine) -> Target:
    large = Room(16_000, 60_000)
    if machine.kind == "simavr":
        # More memory than an ATmega328P has, and the same instructions with the same cycles.
        roomy = replace(
            machine,
            flags=tuple(flag.replace(machine.emulator[0], "atmega1284p") for flag in machine.flags),
            emulator=("atmega1284p", *machine.emulator[1:]),
            ram=16 * 1024,
        )
        return Target(roomy, machine.cpu, 4600, Room(3000, 9000), 40_000, 40, "avr/registers.c", _AVR)
    if machine.kind == "host":
        return Target(machine, "host", 64_000, large, 1_000_000, 400, "host/registers.c", _X86)
    if machine.name.startswith("cortex"):
        if machine.name == "cortex_m0":
            return Target(machine, machine.cpu, 4600, Room(3000, 40_000), 120_000, 60, "cortex_m/registers.c", _ARM)
        return Target(machine, machine.cpu, 64_000, large, 300_000, 100, "cortex_m/registers.c", _ARM)
    if machine.name == "lx106":
        return Target(machine, machine.cpu, 64_000, large, 1_000_000, 100, "xtensa/registers.c", _XTENSA)
    return Target(machine, machine.cpu, 64_000, large, 1_000_000, 100, "riscv/registers.c", _RISCV)
