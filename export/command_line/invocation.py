"""As what the running command was called: what usage lines and remedies say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["called_as", "program"]

_PROGRAM: ContextVar[str] = ContextVar("program", default="qtorch")


@contextmanager
def called_as(words: str) -> Iterator[None]:
    """Within it :func:`program` begins with these words."""
    token = _PROGRAM.set(words)
    try:
        yield
    finally:
        _PROGRAM.reset(token)


def program(command: str = "") -> str:
    """What a person types to call a command.

    >>> program("verify")
    'qtorch verify'
    """
    return f"{_PROGRAM.get()} {command}".rstrip()
