"""Options that a file leaves out, as TFLite Micro takes them: each at the schema's default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from export.tflite.file_data import FileOperator
from qtorch.ops import of_rows
from qtorch.row.row import Row
from qtorch.row.tflite_cell import TFLite

__all__ = ["default_options", "with_options"]


@of_rows
def _tables(rows: Mapping[str, Row]) -> dict[str, str]:
    """The table of options of each operator of a row that has one."""
    cells = (row.tflite for row in rows.values() if isinstance(row.tflite, TFLite))
    return {cell.operator: cell.options for cell in cells if cell.options is not None}


def with_options(operator: FileOperator) -> FileOperator:
    """The operator with the table that its row reads, where a file has none at all."""
    table = _tables().get(operator.name)
    if table is None or operator.options_kind:
        return operator
    return replace(operator, options_kind=getattr(schema.BuiltinOptions, table), options=default_options(table))


@cache
def default_options(table: str) -> dict[str, Any]:
    """The single numbers of a table of options as they are where a file does not say them; by the schema's names."""
    found = vars(getattr(schema, f"{table}T")())
    return {name[0].upper() + name[1:]: value for name, value in found.items() if isinstance(value, int | float)}
