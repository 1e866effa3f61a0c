"""The README is true: its support table is the rows', and its example runs."""

from __future__ import annotations

import re
from pathlib import Path

from export.commands.support import support_table

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_support_table_is_made_from_the_rows() -> None:
    assert support_table() in README, "paste what `python -m export support` prints"


def test_the_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
