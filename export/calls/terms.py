"""Errors over what was handed over, in the terms of whoever handed it over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from qtorch.errors import BadInput

__all__ = ["in_terms_of"]


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
        argument, of, whose = error.where.partition(" of ")
        if argument not in terms:
            raise
        known = re.compile(spoken)
        words = (known.sub(lambda match: terms[match[0]], said) for said in (error.expected, error.got, error.remedy))
        expected, got, remedy = words
        raise type(error)(where=f"{terms[argument]}{of}{whose}", expected=expected, got=got, remedy=remedy) from error
