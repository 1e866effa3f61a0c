"""What is found by itself: the modules of a folder, and what installed distributions state in entry points."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar

__all__ = ["Stated", "stated_by_distributions"]

T = TypeVar("T")


@dataclass(frozen=True)
class Stated(Generic[T]):
    """What an entry point names.

    Attributes:
        what: the object.
        where: the entry point and its distribution, in words.
        module: that it names.
    """

    what: T
    where: str
    module: str


def stated_by_distributions(group: str, kind: type[T], cell: str) -> Iterator[Stated[T]]:
    """The objects that installed distributions state in a group of entry points, by the entry points' names.

    One that can't be used is left out with a warning, and not refused: a distribution that somebody else broke must not
    stop what does not need it, and what needs it is refused by itself.

    Args:
        group: of entry points.
        kind: of the objects.
        cell: what the object is called in a module; an entry point names the object, or a module that has it.
    """
    for point in sorted(entry_points(group=group), key=lambda each: (each.name, each.value)):
        where = _in_words(point)
        try:
            named = point.load()
        # Whatever a module of somebody else's does when it is imported.
        except Exception as error:
            left_out(where, f"{type(error).__name__}: {error}")
            continue
        if isinstance(named, ModuleType):
            named = getattr(named, cell, None)
        if isinstance(named, kind):
            yield Stated(named, where, point.module)
        else:
            left_out(where, f"expected a {kind.__name__}, or a module whose {cell} is one, got {named!r:.80}")


def left_out(where: str, why: str) -> None:
    """The warning that something of an installed distribution can't be used."""
    warnings.warn(f"{where}: left out: {why}. Remedy: mend or uninstall that distribution.", RuntimeWarning, 2)


def _in_words(point: EntryPoint) -> str:
    distribution = point.dist.name if point.dist is not None else "an unnamed distribution"
    return f"{distribution}, entry point {point.name!r} = {point.value!r} of {point.group}"
