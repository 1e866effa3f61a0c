"""Which operators plain C computes row by row, and which end a run of rows: for docs/devices.md."""

from __future__ import annotations

import re
from pathlib import Path

from export.c.by_rows.section import ADDS_UP
from qtorch.ops import ROWS
from qtorch.row.row import Unsupported

__all__ = ["PAGE", "with_row_rules"]

PAGE = Path(__file__).with_name("devices.md")

_PLACE = re.compile(r"<!-- operators by rows -->\n.*?<!-- end of operators by rows -->", re.DOTALL)


def with_row_rules(text: str) -> str:
    """A page with what stands between ``<!-- operators by rows -->`` and its end made anew."""
    body = "\n".join(["<!-- operators by rows -->", *_lists(), "<!-- end of operators by rows -->"])
    return _PLACE.sub(lambda _: body, text)


def _lists() -> list[str]:
    in_c = {name: row for name, row in ROWS.items() if not isinstance(row.c, Unsupported)}
    with_rule = [name for name, row in in_c.items() if row.rows is not None]
    without = [name for name, row in in_c.items() if row.rows is None]
    return [
        f"- Row by row: {_named(with_rule)}.",
        f"- Means over a whole image, whose sums grow row by row: {_named(sorted(ADDS_UP))}.",
        f"- As a whole, so that rows end before them: {_named(without)}.",
    ]


def _named(ops: list[str]) -> str:
    return ", ".join(name.upper() for name in ops)
