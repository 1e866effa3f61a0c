"""Errors of somebody's own code, and values that it hands over, in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from qtorch.errors import BadInput

__all__ = ["in_words", "shown"]


def in_words(error: Exception) -> str:
    """An error of a person's own code in one line; those of this project speak for themselves."""
    said = " ".join(str(error).split())
    return said if isinstance(error, BadInput) else f"{type(error).__name__}: {said[:200]}".removesuffix(": ")


def shown(value: Any) -> str:
    """A value by its type, and by its shape if it has one."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of shape {tuple(value.shape)}, {value.dtype}"
    if isinstance(value, dict) and value:
        return "dict of " + ", ".join(f"{key!r}: {shown(each)}" for key, each in value.items())[:200]
    if isinstance(value, tuple | list) and any(isinstance(each, Tensor | np.ndarray) for each in value):
        return " and ".join(map(shown, value))
    return "None" if value is None else f"{type(value).__name__} {' '.join(repr(value).split()):.60}"
