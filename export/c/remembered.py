"""What is computed of an object once, and kept as long as the object is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import ref

__all__ = ["remembered"]

_T = TypeVar("_T")
_R = TypeVar("_R")


def remembered(function: Callable[[_T], _R]) -> Callable[[_T], _R]:
    """The same function of a frozen object, which need not be hashable: arrays are not."""
    known: dict[int, tuple[ref[Any], _R]] = {}

    @wraps(function)
    def computed_once(of: _T) -> _R:
        found = known.get(id(of))
        if found is None or found[0]() is not of:
            at = id(of)
            found = known[at] = (ref(of, lambda gone: known.pop(at, None)), function(of))
        return found[1]

    return computed_once
