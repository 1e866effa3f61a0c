"""A program's instructions, as binutils' ``objdump`` says them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from firmware.emulation.build import run_tool
from firmware.emulation.machines import Machine

__all__ = ["Instruction", "disassembled"]

_COMMENT = re.compile(r"\s*[@;#](?![-\d])|\s*<")


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
        f"{machine.name}: objdump",
        (f"{machine.prefix}objdump", "-d", *_WORDS.get(machine.prefix, ()), *_VECTORS.get(machine.cpu, ()), elf),
    )
    for line in listing.splitlines():
        # address, colon, tab, bytes, tab, mnemonic, tab, operands; constants among the program are directives.
        address, *parts = line.split("\t")
        if len(parts) < 2 or parts[1].startswith("."):
            continue
        operands = _COMMENT.split(parts[2])[0].strip() if len(parts) > 2 else ""
        first, size = int(address.rstrip(":"), 16), len(parts[0].replace(" ", "")) // 2
        found[first] = Instruction(
            first, size, parts[1].strip().lower().removesuffix(".n").removesuffix(".w"), operands
        )
    return dict(sorted(found.items()))


#: The machine's own names of instructions, compressed ones among them.
_WORDS = {"riscv64-unknown-elf-": ("-M", "no-aliases")}
#: Where objdump by itself takes vectors for a coprocessor's instructions.
_VECTORS = {"cortex-m55": ("-m", "armv8.1-m.main")}
