"""What a row has to be before it joins the others: complete, of a name, calls and an operator of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qtorch.errors import BadConfiguration
from qtorch.row.row import Match, Row, Sample, TFLite

__all__ = ["require_registrable"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESOLVER = re.compile(r"Add[A-Z]\w*")


def require_registrable(row: object, others: Mapping[str, Row], owners: Mapping[str, str]) -> Row:
    """The row, as far as can be seen before it computes anything; what it computes is judged by its samples.

    Args:
        row: whatever was handed over.
        others: the rows that there are, by name, but an earlier edition of this one.
        owners: the module of each of them.

    Raises:
        BadConfiguration: it is no row, lacks something, or claims what another has; says what, and whose.
    """
    if not isinstance(row, Row):
        raise BadConfiguration(
            where="qtorch.register",
            expected="a Row of qtorch.row.row",
            got=f"{row!r:.80}",
            remedy="hand over the row itself, as docs/add_an_operator.md makes it",
        )
    _require_name(row, others, owners)
    _require_calls(row, others, owners)
    _require_cells(row)
    if isinstance(row.tflite, TFLite):
        _require_operator(row, row.tflite, others, owners)
    return row


def _refusal(row: Row, cell: str, *, expected: str, got: str, remedy: str) -> BadConfiguration:
    return BadConfiguration(where=f"row {row.name!r}, {cell}", expected=expected, got=got, remedy=remedy)


def _require_name(row: Row, others: Mapping[str, Row], owners: Mapping[str, str]) -> None:
    if not isinstance(row.name, str) or not _NAME.fullmatch(row.name):
        raise _refusal(
            row,
            "name",
            expected="small letters, digits and underscores",
            got=repr(row.name),
            remedy="call it as TFLite does, in small letters",
        )
    if row.name in others:
        raise _refusal(
            row,
            "name",
            expected="a name that no other row has",
            got=f"that of a row of {owners[row.name]}",
            remedy="name it otherwise; a row of this project is not replaced, nor is another package's",
        )


def _require_calls(row: Row, others: Mapping[str, Row], owners: Mapping[str, str]) -> None:
    """Of two rows that stand for one call the first would take it, and the other never be asked."""
    firm = [(other, match) for other in others.values() if not other.gives_way for match in other.matches]
    claimed = {(match.kind, match.target, match.rank): other for other, match in firm}
    operators = {
        name: other for other, match in firm if match.kind == "aten" for name in (*match.names, match.target)
    }  # fmt: skip
    for match in row.matches:
        other = claimed.get((match.kind, match.target, match.rank)) or operators.get(_spelled_operator(match))
        if other is not None:
            name = getattr(match.target, "__name__", match.target)
            raise _refusal(
                row,
                "matches",
                expected="calls that no other row stands for",
                got=f"{match.kind} {name}, which {other.name} of {owners[other.name]} stands for",
                remedy="leave that match out; a module class of your own can stand for a form that the other refuses",
            )


def _spelled_operator(match: Match) -> str:
    """Name of the operator that a function or method of PyTorch calls, in place or not; empty for others."""
    if match.kind not in ("function", "method"):
        return ""
    name = str(getattr(match.target, "__name__", match.target))
    home = str(getattr(match.target, "__module__", None) or "torch").partition(".")[0]
    if home == "_operator":
        return name.removeprefix("i")
    return name.rstrip("_") if home == "torch" or match.kind == "method" else ""


def _require_cells(row: Row) -> None:
    lacking = [role for role in (*row.roles, "output") if role not in row.constraints]
    if lacking or not row.roles:
        raise _refusal(
            row,
            "constraints",
            expected="roles, and a constraint for each of them and for 'output'",
            got=f"none for {', '.join(lacking)}" if lacking else "no roles",
            remedy="say what the kernel demands of that grid; Free() where it is measured",
        )
    first = next(iter(row.samples()), None)
    if not isinstance(first, Sample):
        raise _refusal(
            row,
            "samples",
            expected="at least one Sample, by which the row is judged",
            got="none" if first is None else f"{first!r:.80}",
            remedy="yield cases that reach each branch of the kernel",
        )


def _require_operator(row: Row, cell: TFLite, others: Mapping[str, Row], owners: Mapping[str, str]) -> None:
    # Here, because nothing else of this package reads the schema.
    from ai_edge_litert import schema_py_generated as schema

    known = cell.custom or (cell.operator != "CUSTOM" and hasattr(schema.BuiltinOperator, cell.operator))
    if not known:
        raise _refusal(
            row,
            "tflite",
            expected="a member of the schema's BuiltinOperator, or CUSTOM: and a name, whose kernels TFLite Micro has",
            got=repr(cell.operator),
            remedy="name it as tensorflow/compiler/mlir/lite/schema/schema.fbs does, or make the cell Unsupported",
        )
    for other in others.values():
        if isinstance(other.tflite, TFLite) and other.tflite.operators == cell.operators:
            raise _refusal(
                row,
                "tflite",
                expected="an operator of its own, by which a file is read back",
                got=f"{cell.operator}, which {other.name} of {owners[other.name]} writes",
                remedy="let that row stand for the call",
            )
    if not _RESOLVER.fullmatch(cell.resolver):
        raise _refusal(
            row,
            "tflite",
            expected="a method of TFLite Micro's MicroMutableOpResolver, AddAbs for example",
            got=repr(cell.resolver),
            remedy="take it from tensorflow/lite/micro/micro_mutable_op_resolver.h",
        )
    if cell.custom:
        unknown = [] if cell.options is None else [cell.options]
    elif cell.options is None:
        unknown = [field.option for field in cell.fields]
    elif not hasattr(schema.BuiltinOptions, cell.options):
        unknown = [cell.options]
    else:
        unknown = [f.option for f in cell.fields if not hasattr(schema, f"{cell.options}Add{f.option}")]
        unknown += [f.enum for f in cell.fields if f.enum is not None and not hasattr(schema, f.enum)]
    if unknown:
        raise _refusal(
            row,
            "tflite",
            expected="an options table of the schema, with fields and enumerations that it has",
            got=", ".join(unknown),
            remedy="name them as the schema does: options='EluOptions' and the option's name in CamelCase",
        )
