"""``python -m export``: a checkpoint exported, or another command of :mod:`export.command_line`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from export.command_line.dispatch import alike, called
from export.command_line.dispatch import main as any_command
from export.command_line.table import COMMANDS

__all__ = ["main"]

_PROGRAM = "python -m export"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 2 for bad input, 1 for failed parity.

    What is neither a command nor like one is a checkpoint.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    first = words[0] if words else ""
    is_command = first in COMMANDS or first in ("-h", "--help")
    if is_command or (alike(first) and not Path(first).exists()):
        return any_command(words, _PROGRAM)
    return called("export", words, _PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
