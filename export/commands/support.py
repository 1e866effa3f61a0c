"""The table of what can be exported, made from the rows: the copy in docs/operators.md is checked by a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.command_line.reader import read_options
from qtorch.ops import ROWS
from qtorch.preparation.matching import supported_names
from qtorch.row.constraints import Fixed, Indices, SameAs, SymmetricWeight
from qtorch.row.row import Row, TFLite, Unsupported

__all__ = ["SupportOptions", "support_command", "support_table"]


@dataclass(frozen=True)
class SupportOptions:
    """What can be exported: a table in Markdown, a line for each operator.

    Example:
        qtorch support
    """


def support_command(arguments: Sequence[str]) -> None:
    """Print the table."""
    read_options(SupportOptions, arguments, "support")
    print(support_table())


def support_table() -> str:
    """GitHub-flavoured Markdown, one line for each row, by name."""
    head = "| TFLite Micro | from PyTorch | types | fused | output grid |\n|---|---|---|---|---|"
    return "\n".join([head, *(_line(row) for row in ROWS.values())])


def _line(row: Row) -> str:
    operator = f"- ({row.tflite.reason})" if isinstance(row.tflite, Unsupported) else ", ".join(row.tflite.operators)
    operator = operator.removeprefix("CUSTOM:")
    cells = (operator, _torch(row), _types(row), ", ".join(sorted(row.fusable)), _grid(row))
    return f"| {' | '.join(cells)} |"


def _torch(row: Row) -> str:
    names = {name for match in row.matches for name in match.names}
    assert names <= set(supported_names())
    if isinstance(row.tflite, TFLite) and row.tflite.custom:
        return "files of others"
    return ", ".join(f"`{name}`" for name in sorted(names)) or "put in by the export"


def _types(row: Row) -> str:
    demand = row.constraint(row.roles[0] if not row.variadic else f"{row.roles[0]}_0")
    if isinstance(demand, Indices):
        return ", ".join(getattr(row.constraints["output"], "dtypes", ())) + " by int32 indices"
    shown = ("int8", "int16", "float32") if row.matches else ("int8", "int16", "float32", "uint32", "uint64")
    types = [dtype for dtype in getattr(demand, "dtypes", ()) if dtype in shown]
    weight = row.constraints.get("weight")
    if isinstance(weight, SymmetricWeight) and "int4" in weight.dtypes:
        types.append("int4 weights" + (" per tensor" if "int4" in weight.per_tensor else ""))
    return ", ".join(types)


def _grid(row: Row) -> str:
    demand = row.constraints["output"]
    if isinstance(demand, SameAs):
        return "the input's"
    if isinstance(demand, Indices):
        return "indices, int32"
    if isinstance(demand, Fixed):
        scale, zero_point = demand.grids["int8"]
        return f"1/{round(1 / scale)} at {zero_point}"
    return "measured"
