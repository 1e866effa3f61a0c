"""What is computed once: of an object as long as it is there, or of objects that are alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, TypeVar
from weakref import ref

__all__ = ["remembered", "remembered_by"]

#: Results that are kept for objects that are alike.
_KEPT = 1024

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


def remembered_by(key: Callable[[_T], Hashable]) -> Callable[[Callable[[_T], _R]], Callable[[_T], _R]]:
    """A decorator: the same function, computed once for all objects of one key; the oldest results are forgotten.

    Args:
        key: equal for two objects exactly where they are alike.
    """

    def decorated(function: Callable[[_T], _R]) -> Callable[[_T], _R]:
        known: dict[Hashable, _R] = {}

        @wraps(function)
        def computed_once(of: _T) -> _R:
            at = key(of)
            if at not in known:
                result = function(of)
                if len(known) >= _KEPT:
                    known.pop(next(iter(known)), None)
                known[at] = result
            return known[at]

        return computed_once

    return decorated
