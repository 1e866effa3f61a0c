"""A program's instructions, as binutils say them: what each is, and which step of a source it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware.emulation.build import run_tool
from firmware.emulation.machines import Machine
from firmware.emulation.steps import step_lines

__all__ = ["Instruction", "disassembled", "steps_by_address"]

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
        if len(parts) < 2 or not address.endswith(":") or parts[1].startswith("."):
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


_FRAME = re.compile(r"(?:^|/)([^/:]+):(\d+)(?: .*)?$")


def steps_by_address(
    machine: Machine, elf: Path, sources: Mapping[str, str], addresses: Iterable[int]
) -> dict[int, int]:
    """The step of each instruction that stands in a step's lines, or in what was inlined there.

    Args:
        machine: of the program.
        elf: the program, with debugging information.
        sources: text by file name.
        addresses: of instructions.

    Raises:
        DidNotBuild: its debugging information can't be read.
    """
    lines = {name: step_lines(text) for name, text in sources.items()}
    asked = list(addresses)
    found: dict[int, int] = {}
    for first in range(0, len(asked), _AT_ONCE):
        command = [f"{machine.prefix}addr2line", "-a", "-i", "-e", str(elf)]
        command += [f"{address:#x}" for address in asked[first : first + _AT_ONCE]]
        address = 0
        for line in run_tool(f"{machine.name}: addr2line", command).splitlines():
            if line.startswith("0x"):
                address = int(line, 16)
            elif (frame := _FRAME.search(line)) is not None:
                # From the innermost of what is inlined to the outermost, which is the one that holds.
                step = lines.get(frame[1], {}).get(int(frame[2]))
                if step is not None:
                    found[address] = step
    return found


#: Addresses in a command: its length has a limit.
_AT_ONCE = 5000
