"""A benchmark: what measures, and how what it found reads in the documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Suite", "markdown_table", "share"]


@dataclass(frozen=True)
class Suite:
    """One of the tables.

    Attributes:
        name: on the command line, of its JSON file and of its place in ``docs``.
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


def share(mismatches: int, outputs: int) -> str:
    """What is equal, in percent; with as many digits as it takes not to say 100 of what is less.

    Example:
        >>> share(8, 1000), share(1, 128_000), share(0, 5)
        ('99.20 %', '99.999 %', '100 %')
    """
    if not mismatches:
        return "100 %"
    equal, digits = 100 * (1 - mismatches / outputs), 2
    while float(f"{equal:.{digits}f}") == 100:
        digits += 1
    return f"{equal:.{digits}f} %"
