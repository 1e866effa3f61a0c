"""What joins by itself: registries of named objects, to which installed distributions and users add their own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, Protocol, TypeVar

from qtorch.errors import BadConfiguration

__all__ = ["Registry", "Stated", "stated_by_distributions"]

T = TypeVar("T")


class Named(Protocol):
    """What has a name, as rows and boards do."""

    @property
    def name(self) -> str:
        """By which it is found."""


N = TypeVar("N", bound=Named)


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


class Registry(MutableMapping[str, N]):
    """Objects by name: this project's, those that were added, and from the first look on those of distributions.

    The latter are not loaded earlier, because a package that states one may itself be what imports this one, and have
    none yet. Nor is time lost on them before something is asked for.

    Attributes:
        owners: the module of each object.
    """

    def __init__(
        self,
        own: Mapping[str, N],
        owner: str,
        *,
        kind: type[N],
        group: str,
        cell: str,
        require: Callable[[object, Mapping[str, N], Mapping[str, str]], N],
    ) -> None:
        """A registry of this project's own objects.

        Args:
            own: by name.
            owner: where they stand.
            kind: of all objects.
            group: of the entry points that state more.
            cell: what an object is called in a module that an entry point names.
            require: gives an object that may be added beside the others, whose owners it is told; BadConfiguration.
        """
        self._all = dict(own)
        self.owners = dict.fromkeys(own, owner)
        self._built_in = frozenset(own)
        self._kind, self._group, self._cell, self._require = kind, group, cell, require
        self._looked = False

    def __getitem__(self, name: str) -> N:
        return self.all()[name]

    def __setitem__(self, name: str, item: N) -> None:
        self._all[name] = item
        self.owners.setdefault(name, type(item).__module__)

    def __delitem__(self, name: str) -> None:
        del self._all[name], self.owners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.all())

    def all(self) -> Mapping[str, N]:
        """Every object by name."""
        if not self._looked:
            # First, because a package that is loaded may look at the others.
            self._looked = True
            for stated in stated_by_distributions(self._group, self._kind, self._cell):
                try:
                    self.add(stated.what, stated.module)
                except BadConfiguration as error:
                    _leave_out(stated.where, str(error))
        return self._all

    def add(self, item: N, owner: str) -> None:
        """One more: the same object again is harmless, and another of the same name and owner its new edition.

        Args:
            item: to add.
            owner: the module that it stands in.

        Raises:
            BadConfiguration: it is none that can be added.
        """
        name = getattr(item, "name", None)
        if isinstance(item, self._kind) and self._all.get(item.name) is item:
            return
        earlier = name not in self._built_in and self.owners.get(str(name)) == owner
        others = {each: other for each, other in self._all.items() if not (earlier and each == name)}
        item = self._require(item, others, self.owners)
        self._all[item.name], self.owners[item.name] = item, owner

    def added(self) -> dict[str, str]:
        """The module of each object that is not of this project."""
        return {name: self.owners[name] for name in self.all() if name not in self._built_in}


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
            _leave_out(where, f"{type(error).__name__}: {error}")
            continue
        if isinstance(named, ModuleType):
            named = getattr(named, cell, None)
        if isinstance(named, kind):
            yield Stated(named, where, point.module)
        else:
            _leave_out(where, f"expected a {kind.__name__}, or a module whose {cell} is one, got {named!r:.80}")


def _leave_out(where: str, why: str) -> None:
    warnings.warn(f"{where}, left out: {why.rstrip('.')}. Remedy: mend or uninstall that distribution.", stacklevel=4)


def _in_words(point: EntryPoint) -> str:
    distribution = point.dist.name if point.dist is not None else "an unnamed distribution"
    return f"{distribution}, entry point {point.name!r} = {point.value!r} of {point.group}"
