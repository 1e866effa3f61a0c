"""A small fault, and the tests that have to catch it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant", "selected"]


@dataclass(frozen=True)
class Mutant:
    """``old``, which stands once in ``file``, replaced by ``new``.

    Attributes:
        file: from the root of the tree.
        old: text to replace.
        new: what by.
        tests: pytest's arguments: files, and perhaps ``-k`` with an expression.
        equivalent: why nothing can tell it from what is right; empty for a fault.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""


def selected(file: str, words: str = "") -> tuple[str, ...]:
    """Pytest's arguments for a file's tests, or those whose names have ``words``."""
    return (f"tests/{file}.py", "-k", words) if words else (f"tests/{file}.py",)
