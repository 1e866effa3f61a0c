"""What goes wrong between a source file and the last instruction of an emulated program."""

from __future__ import annotations

import re

__all__ = ["DidNotBuild", "DidNotEnd", "EmulationFailure"]


class EmulationFailure(RuntimeError):
    """A program on emulated hardware did not do what it was built for; a wrong output code is no such failure.

    Attributes:
        where: machine and step.
        expected: what the step should have come to.
        got: what it came to.
        output: what the tool printed, last lines.
    """

    def __init__(self, *, where: str, expected: str, got: str, output: str = "") -> None:
        self.where, self.expected, self.got = where, expected, got
        self.output = "\n".join(output.strip().splitlines()[-40:])
        shown = f"\n{self.output}" if self.output else ""
        super().__init__(f"{where}: expected {expected}, got {got}.{shown}")

    @property
    def reason(self) -> str:
        """One line: which memory was exceeded, where a linker says that; else the first line."""
        beyond = dict(re.findall(r"region [`'](\w+)' overflowed by (\d+) bytes", self.output))
        outside = dict.fromkeys(re.findall(r"section [`'](\S+)' is not within region [`'](\w+)'", self.output))
        said = [f"{int(size):,} bytes too many for {name}" for name, size in beyond.items()]
        said += [f"{section} reaches beyond {name}" for section, name in outside]
        return f"does not fit: {', '.join(said)}" if said else str(self).splitlines()[0]


class DidNotBuild(EmulationFailure):
    """The compiler or the linker refused, or the program is larger than the machine's memory."""


class DidNotEnd(EmulationFailure):
    """The program ran into its limit of time or cycles."""
