"""The README can be read in five minutes, and its example runs."""

from __future__ import annotations

import re

from tests.test_docs import LOOKED_UP, README

TEXT = README.read_text()


def test_the_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= 200
    prose = [line for line in TEXT.splitlines() if not line.startswith(("|", "<img"))]
    assert max(map(len, prose)) <= 120


def test_the_readme_leads_to_what_it_used_to_say() -> None:
    assert {page.name for page in LOOKED_UP} <= set(re.findall(r"\]\(docs/([\w.]+)", TEXT))


def test_the_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
