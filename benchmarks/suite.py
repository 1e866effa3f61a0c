"""A benchmark: what measures, and how what it found reads in the README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Suite", "markdown_table"]


@dataclass(frozen=True)
class Suite:
    """One of the tables.

    Attributes:
        name: on the command line, of its JSON file and of its place in the README.
        purpose: a sentence for ``--help``.
        measure: takes minutes; returns a JSON object.
        table: of such an object, the Markdown lines.
    """

    name: str
    purpose: str
    measure: Callable[[], dict[str, Any]]
    table: Callable[[dict[str, Any]], Sequence[str]]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table.

    Example:
        >>> markdown_table(["a", "b"], [[1, "x"]])
        ['| a | b |', '|---|---|', '| 1 | x |']
    """
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
    ]
