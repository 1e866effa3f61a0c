"""From the words of a command line to the function of its command."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread

from export.command_line.invocation import called_as
from export.command_line.own_packages import foreign, open_working_folder
from export.command_line.table import COMMANDS, commands_page

__all__ = ["called", "main"]

_HELP = ("-h", "--help")
#: What a shell makes of a command that Ctrl-C ended.
INTERRUPTED = 130
_INTERRUPTED = "interrupted"
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

    Returns:
        As :func:`main`; 130 where Ctrl-C ended it, without a traceback.
    """
    with _ended_at_once():
        open_working_folder()
        other = foreign()
    if other:
        return _say(f"{other} has the name of a package of qtorch's, and was loaded in its place. Remedy: rename it.")
    try:
        with _ended_at_once():
            from qtorch.lightning.command_line.outcome import run_command

        with called_as(program):
            return run_command(lambda: _loaded(name)(words), _OTHERWISE.get(name, "no export"))
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        return INTERRUPTED


def _loaded(name: str) -> Callable[[Sequence[str]], None]:
    with _ended_at_once():
        return COMMANDS[name].load()


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """Ctrl-C ends the process on the spot: packages that are half imported answer an exception with others.

    Of a program that hears it by itself, and in threads, it is left as it is.
    """
    mine = current_thread() is main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if mine:
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    # Not by the streams of Python, which it may hold just now.
    os.write(2, f"{_INTERRUPTED}\n".encode())
    os._exit(INTERRUPTED)


def alike(word: str) -> str:
    """The command that a word may have been meant for, empty if none is like it."""
    return next(iter(difflib.get_close_matches(word, COMMANDS, 1)), "")


def _refuse(program: str, word: str) -> int:
    if Path(word).is_file():
        remedy = f"{program} {'compile' if word.endswith('.tflite') else 'export'} {word} --out DIR"
    else:
        remedy = f"{program} {alike(word)}".rstrip() if alike(word) else f"{program} --help"
    return _say(f"{program}: expected one of {', '.join(COMMANDS)}, got {word!r}. Remedy: {remedy}.")


def _say(refusal: str) -> int:
    print(f"error: {refusal}", file=sys.stderr)
    return 2
