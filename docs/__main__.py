"""``python -m docs`` makes the tables of ``docs/operators.md``, ``architecture.md`` and ``which_tflm.md`` anew."""

from __future__ import annotations

from pathlib import Path

from docs.rooms import PAGE as HOUSE
from docs.rooms import with_tables

__all__ = ["OPERATORS", "with_support_table"]

OPERATORS = Path(__file__).with_name("operators.md")


def with_support_table(page: str, table: str) -> str:
    """The page with its table of what can be exported, the one with the same head, replaced."""
    lines, head = page.split("\n"), table.split("\n")[0]
    start = lines.index(head)
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return "\n".join([*lines[:start], table, *lines[end:]])


if __name__ == "__main__":
    from docs.editions import PAGE as EDITIONS
    from docs.editions import editions_table
    from export.commands.support import support_table

    OPERATORS.write_text(with_support_table(OPERATORS.read_text(encoding="utf-8"), support_table()), encoding="utf-8")
    EDITIONS.write_text(with_support_table(EDITIONS.read_text(encoding="utf-8"), editions_table()), encoding="utf-8")
    HOUSE.write_text(with_tables(HOUSE.read_text(encoding="utf-8")), encoding="utf-8")
