"""The rows, found by themselves: every file in this folder is one op, and its name is the op's name.

Rows of other packages join them: by :func:`register`, or by entry points of the group ``qtorch.rows``. What is derived
from all rows is made of :data:`ROWS` when it is asked for, by :func:`of_rows`, and so knows them too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar

from qtorch.discovery import Registry
from qtorch.row.registration import require_registrable
from qtorch.row.row import Row

__all__ = ["GROUP", "ROWS", "of_rows", "register"]

#: Of the entry points that name a row, or a module whose ``ROW`` is one.
GROUP = "qtorch.rows"

T = TypeVar("T")


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
ROWS: Registry[Row] = Registry(_discover(), __name__, kind=Row, group=GROUP, cell="ROW", require=require_registrable)


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
