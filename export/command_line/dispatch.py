"""From the words of a command line to the function of its command."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from export.command_line.invocation import called_as
from export.command_line.own_packages import foreign, open_working_folder
from export.command_line.table import COMMANDS, commands_page

__all__ = ["called", "main"]

_HELP = ("-h", "--help")
#: What it means that a judge says no, to commands that export nothing.
_OTHERWISE = {"verify": "not equal", "profile": "no figures"}


def main(arguments: Sequence[str] | None = None, program: str = "qtorch") -> int:
    """The console script ``qtorch``; like ``python -m`` it finds modules in the folder where it is called.

    Args:
        arguments: of the command line; the process's own if ``None``.
        program: as it was called.

    Returns:
        Exit code: 0, 2 for bad input, 1 for failed parity.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    first, *rest = words or ["--help"]
    if first in _HELP:
        print(commands_page(program))
        return 0
    if first not in COMMANDS:
        return _refuse(program, first)
    return called(first, rest, program)


def called(name: str, words: Sequence[str], program: str) -> int:
    """Exit code of a command.

    Args:
        name: of :data:`~export.command_line.table.COMMANDS`.
        words: those behind it.
        program: as it was called.
    """
    open_working_folder()
    if other := foreign():
        return _say(f"{other} has the name of a package of qtorch's, and was loaded in its place. Remedy: rename it.")
    from qtorch.lightning.command_line.outcome import run_command

    with called_as(program):
        return run_command(lambda: COMMANDS[name].load()(words), _OTHERWISE.get(name, "no export"))


def alike(word: str) -> str:
    """The command that a word may have been meant for, empty if none is like it."""
    return next(iter(difflib.get_close_matches(word, COMMANDS, 1)), "")


def _refuse(program: str, word: str) -> int:
    if Path(word).is_file():
        remedy = f"{program} export {word} --out DIR"
    else:
        remedy = f"{program} {alike(word)}".rstrip() if alike(word) else f"{program} --help"
    return _say(f"{program}: expected one of {', '.join(COMMANDS)}, got {word!r}. Remedy: {remedy}.")


def _say(refusal: str) -> int:
    print(f"error: {refusal}", file=sys.stderr)
    return 2
