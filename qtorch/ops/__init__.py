"""The rows, found by themselves: every file in this folder is one op, and its name is the op's name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from qtorch.row.row import Row

__all__ = ["ROWS"]


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
ROWS: dict[str, Row] = _discover()
