"""Errors over what was handed over, in the terms of whoever handed it over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields

from export.bundle.arguments import as_arguments
from qtorch.errors import BadInput

__all__ = ["in_arguments", "in_options_of", "in_terms_of", "on_a_command_line"]

#: Whoever asks is a command, whose options have the names that errors say.
_COMMAND = ContextVar("_COMMAND", default=False)


@contextmanager
def on_a_command_line() -> Iterator[None]:
    """A call that a command makes: :func:`in_arguments` leaves its errors as they are."""
    token = _COMMAND.set(True)
    try:
        yield
    finally:
        _COMMAND.reset(token)


@contextmanager
def in_arguments() -> Iterator[None]:
    """Errors over options in the words of a call; see :func:`export.bundle.arguments.as_arguments`."""
    with _reworded(lambda words: words if _COMMAND.get() else as_arguments(words)):
        yield


@contextmanager
def in_options_of(command: type) -> Iterator[None]:
    """Errors over an export's options, as a command writes them that has them without ``export.``.

    Args:
        command: a dataclass; its fields are the command's options.
    """
    named = re.compile(rf"(?:--)?\bexport\.({'|'.join(each.name for each in fields(command))})(?![.\w])")
    with _reworded(lambda words: named.sub(r"--\1", words)):
        yield


@contextmanager
def _reworded(reword: Callable[[str], str]) -> Iterator[None]:
    """Errors in other words, wherever they stand; one in which none changes passes as it is."""
    try:
        yield
    except BadInput as error:
        said = error.where, error.expected, error.got, error.remedy
        where, expected, got, remedy = map(reword, said)
        if (where, expected, got, remedy) == said:
            raise
        raise type(error)(where=where, expected=expected, got=got, remedy=remedy) from error


@contextmanager
def in_terms_of(terms: Mapping[str, str], spoken: str) -> Iterator[None]:
    """Errors over an argument, with the names that it has outside.

    Args:
        terms: those names, by the arguments' own; errors over another argument pass as they are, and what one is "of"
            is kept.
        spoken: pattern of the arguments' names in what is said of them.
    """
    try:
        yield
    except BadInput as error:
        argument, of, whose = (error.where, "", "") if error.where in terms else error.where.partition(" of ")
        if argument not in terms:
            raise
        known = re.compile(spoken)
        words = (known.sub(lambda match: terms[match[0]], said) for said in (error.expected, error.got, error.remedy))
        expected, got, remedy = words
        raise type(error)(where=f"{terms[argument]}{of}{whose}", expected=expected, got=got, remedy=remedy) from error
