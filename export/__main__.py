"""``python -m export``: a checkpoint exported, or another command; each is a module of :mod:`export.commands`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from export.commands.compare import compare_command
from export.commands.export import export_command
from export.commands.profile import profile_command
from export.commands.sensitivity import sensitivity_command
from export.commands.summary import summary_command
from export.commands.support import support_command
from export.commands.verify import verify_command
from qtorch.errors import BadConfiguration
from qtorch.lightning.cli import run_command

_COMMANDS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "verify": verify_command,
    "sensitivity": sensitivity_command,
    "summary": summary_command,
    "profile": profile_command,
    "compare": compare_command,
    "support": support_command,
}


def _require_command(word: str) -> None:
    """Refuse what is neither a command nor a file, but looks like a command.

    Raises:
        BadConfiguration: so it does; says like which.
    """
    alike = difflib.get_close_matches(word, _COMMANDS, 1)
    if alike and not Path(word).exists():
        raise BadConfiguration(
            where="python -m export",
            expected=f"a checkpoint, or one of {', '.join(_COMMANDS)}",
            got=repr(word),
            remedy=f"python -m export {alike[0]}",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 2 for bad input, 1 for failed parity."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = _COMMANDS.get(words[0]) if words else None
    if command is not None:
        return run_command(lambda: command(words[1:]))

    def export() -> None:
        for word in words[:1]:
            _require_command(word)
        export_command(words)

    return run_command(export)


if __name__ == "__main__":
    sys.exit(main())
