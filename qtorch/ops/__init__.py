"""The rows, found by themselves: every file in this folder is one op, and its name is the op's name.

Rows of other packages join them: by :func:`register`, or by entry points of the group ``qtorch.rows``. What is derived
from all rows is made of :data:`ROWS` when it is asked for, by :func:`of_rows`, and so knows them too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from qtorch.discovery import left_out, stated_by_distributions
from qtorch.errors import BadConfiguration
from qtorch.row.registration import require_registrable
from qtorch.row.row import Row

__all__ = ["GROUP", "ROWS", "Rows", "of_rows", "register"]

#: Of the entry points that name a row, or a module whose ``ROW`` is one.
GROUP = "qtorch.rows"

T = TypeVar("T")


class Rows(MutableMapping[str, Row]):
    """The rows by name, those of installed distributions among them from the first look on.

    They are not loaded earlier, because a package that states a row may itself be what imports this one, and have none
    yet. Nor is time lost on them before something is prepared.

    Attributes:
        owners: the module of each row.
    """

    def __init__(self, own: Mapping[str, Row], owner: str) -> None:
        self._rows = dict(own)
        self.owners = dict.fromkeys(own, owner)
        self._built_in = frozenset(own)
        self._looked = False

    def __getitem__(self, name: str) -> Row:
        return self.all()[name]

    def __setitem__(self, name: str, row: Row) -> None:
        self._rows[name] = row
        self.owners.setdefault(name, row.reference.__module__)

    def __delitem__(self, name: str) -> None:
        del self._rows[name], self.owners[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(self.all())

    def all(self) -> Mapping[str, Row]:
        """Every row."""
        if not self._looked:
            # First, because a package that is loaded may look at the rows.
            self._looked = True
            for stated in stated_by_distributions(GROUP, Row, "ROW"):
                try:
                    self.add(stated.what, stated.module)
                except BadConfiguration as error:
                    left_out(stated.where, str(error))
        return self._rows

    def add(self, row: Row, owner: str) -> None:
        """See :func:`register`; ``owner`` is the module that the row stands in."""
        if isinstance(row, Row) and self._rows.get(row.name) is row:
            return
        edition = getattr(row, "name", None)
        earlier = edition not in self._built_in and self.owners.get(str(edition)) == owner
        others = {name: other for name, other in self._rows.items() if not (earlier and name == edition)}
        row = require_registrable(row, others, self.owners)
        self._rows[row.name], self.owners[row.name] = row, owner

    def registered(self) -> dict[str, str]:
        """The module of each row that is not of this project."""
        return {name: self.owners[name] for name in self.all() if name not in self._built_in}


def _discover() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for module in sorted(iter_modules(__path__), key=lambda m: m.name):
        row = getattr(import_module(f"{__name__}.{module.name}"), "ROW", None)
        if not isinstance(row, Row) or row.name != module.name:
            raise ImportError(
                f"qtorch/ops/{module.name}.py: expected ROW, a Row named {module.name!r}, got {row!r:.80}. "
                "Remedy: one file, one op, one name."
            )
        rows[row.name] = row
    return rows


#: Every row by name.
ROWS = Rows(_discover(), __name__)


def register(row: Row) -> Row:
    """An operator of one's own among the others: prepared, trained, exported, counted, listed and judged as they are.

    Example:
        >>> from my_package.abs import ROW  # doctest: +SKIP
        >>> qtorch.register(ROW).name  # doctest: +SKIP
        'abs'

    It may be the last line of the row's module, beside an entry point of the group ``qtorch.rows`` that names that
    module: the same row is registered once. A row that the same module made before, as one that is reloaded did, or a
    cell of a notebook that is run again, gives way to its new edition. Whether it computes what TFLite Micro does,
    ``export.row_parity`` says.

    Args:
        row: complete, with samples.

    Returns: the row.

    Raises:
        BadConfiguration: it is no :class:`~qtorch.row.row.Row` or lacks a cell; another row has its name, its operator
            or one of its calls; the .tflite schema does not have its operator or options.
    """
    ROWS.add(row, str(sys._getframe(1).f_globals.get("__name__", "")))
    return row


def of_rows(derived: Callable[[Mapping[str, Row]], T]) -> Callable[[], T]:
    """A function that gives what is derived from all rows, and derives it anew when they are others than before.

    Args:
        derived: of the rows by name.
    """
    last: list[tuple[tuple[Row, ...], T]] = []

    def now() -> T:
        rows = ROWS.all()
        # Compared one by one by identity before anything else, as tuples are.
        key = tuple(rows.values())
        if not last or last[0][0] != key:
            last[:] = [(key, derived(rows))]
        return last[0][1]

    return now
