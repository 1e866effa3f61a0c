"""A program's instructions, as binutils' ``objdump`` says them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from firmware.emulation.build import run_tool
from firmware.emulation.machines import Machine

__all__ = ["Instruction", "disassembled"]

_LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]+ ?)+)\s*\t([^\t\n]+)(?:\t([^\n]*))?")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        address: of its first byte.
        size: bytes.
        mnemonic: in lower case, without the width (``.n``, ``.w``).
        operands: without comments.
    """

    address: int
    size: int
    mnemonic: str
    operands: str

    @property
    def text(self) -> str:
        """``mnemonic operands``."""
        return f"{self.mnemonic} {self.operands}".strip()


def disassembled(machine: Machine, elf: Path) -> dict[int, Instruction]:
    """Every instruction by address, in ascending order.

    Raises:
        DidNotBuild: objdump refuses the file.
    """
    found = {}
    listing = run_tool(
        f"{machine.name}: objdump", (f"{machine.prefix}objdump", "-d", *_WORDS.get(machine.prefix, ()), elf)
    )
    for line in listing.splitlines():
        parts = _LINE.match(line)
        if parts is None or parts[3].startswith("."):
            continue
        address = int(parts[1], 16)
        operands = re.split(r"\s*[@;#](?![-\d])|\s*<", parts[4] or "")[0].strip()
        mnemonic = re.sub(r"\.[nw]$", "", parts[3].strip().lower())
        found[address] = Instruction(address, len(parts[2].replace(" ", "")) // 2, mnemonic, operands)
    return dict(sorted(found.items()))


#: The machine's own names of instructions, compressed ones among them.
_WORDS = {"riscv64-unknown-elf-": ("-M", "no-aliases")}
