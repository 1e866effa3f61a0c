"""The README is true: its support table is the rows', and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

from docs.__main__ import with_support_table
from export.commands.support import support_table

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_support_table_is_made_from_the_rows() -> None:
    assert with_support_table(README, support_table()) == README, "run `python -m docs`"


def test_the_support_table_is_made_anew() -> None:
    """Whatever rows stand in it: one more, or fewer."""
    head, rule, first, *others = support_table().split("\n")
    for rows in ([first, "| ABS | `abs` | int8 |  | measured |", *others], [first]):
        written = with_support_table(README, "\n".join([head, rule, *rows]))
        assert written != README
        assert with_support_table(written, support_table()) == README


def test_the_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
