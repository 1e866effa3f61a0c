"""What an engine or converter says of a model, and many of them as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from export.console.page import Table
from export.opinions.grids import GridAgreement
from export.parity.outputs import shown_share

__all__ = ["FAILED", "Opinion", "as_json", "comparison_table"]

#: How the note of one that failed begins.
FAILED = "failed: "


@dataclass(frozen=True)
class Opinion:
    """One line of the table; what does not apply to it is ``None``.

    Attributes:
        name: of the engine or converter.
        version: of its package.
        bytes: of the file that it reads or makes.
        ops: in that file.
        grids: scales and zero points against this project's.
        outputs: numbers that were compared.
        exact_share: of them, that agree.
        max_lsb: how far the worst lies off, in steps of the output's grid.
        figure: the task's first figure on the test data, of what it computes.
        seconds: to convert or to compute, the package's import left out.
        note: what else is to be said; of one that is not installed, the remedy.
    """

    name: str
    version: str = ""
    bytes: int | None = None
    ops: int | None = None
    grids: GridAgreement | None = None
    outputs: int = 0
    exact_share: float | None = None
    max_lsb: float | None = None
    figure: float | None = None
    seconds: float | None = None
    note: str = ""


def comparison_table(opinions: Sequence[Opinion], column: str) -> Table:
    """For people; ``column`` names the figure. Marked is who failed, and who disagrees on this project's own grids."""
    head = ("", "version", "bytes", "ops", "grids equal", "apart", "outputs", "exact", "max LSB", column, "seconds", "")
    return Table(
        head,
        "llrrrrrrrrrl",
        tuple(map(_row, opinions)),
        "engines and converters beside this project's file",
        frozenset(i for i, each in enumerate(opinions) if each.note.startswith(FAILED) or _disagrees(each)),
    )


def _row(each: Opinion) -> tuple[object, ...]:
    grids, largest = "", ""
    if each.grids is not None:
        grids = f"{each.grids.equal} of {each.grids.tensors}" if each.grids.tensors else "other ops"
        largest = f"{each.grids.largest:.1e}" if each.grids.largest else ""
    return (
        *(each.name, each.version, _cell(each.bytes, ","), _cell(each.ops, ""), grids, largest),
        "" if each.seconds is None else f"{each.outputs:,}",
        "" if each.exact_share is None else shown_share(each.exact_share),
        *(_cell(each.max_lsb, ".4g"), _cell(each.figure, ".4g"), _cell(each.seconds, ".3f"), each.note),
    )


def _disagrees(each: Opinion) -> bool:
    """Of a file with grids of its own, other outputs are what is to be expected."""
    own = each.bytes is None if each.grids is None else 0 < each.grids.tensors == each.grids.equal
    return own and each.exact_share is not None and each.exact_share < 1


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def as_json(opinions: Sequence[Opinion]) -> list[dict[str, Any]]:
    """For machines: the fields of each."""
    return [asdict(each) for each in opinions]
