"""Errors of somebody's own code, in words."""

from __future__ import annotations

from qtorch.errors import BadInput

__all__ = ["in_words"]


def in_words(error: Exception) -> str:
    """An error of a person's own code in one line; those of this project speak for themselves."""
    said = " ".join(str(error).split())[:200]
    return said if isinstance(error, BadInput) else f"{type(error).__name__}: {said}".removesuffix(": ")
