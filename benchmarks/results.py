"""Results as JSON files, and the tables of the documentation made from them."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.suite import Suite

__all__ = ["PAGES", "RESULTS", "load", "measured", "save", "write_tables"]

_DOCS = Path(__file__).parents[1] / "docs"
#: Where tables stand, each suite's in one of them.
PAGES = (_DOCS / "benchmarks.md", _DOCS / "devices.md")
RESULTS = Path(__file__).parent / "results"
#: More than a table shows, so that what it shows is rounded once.
_DIGITS = 6


def save(suite: Suite, found: dict[str, Any]) -> None:
    """``results/<suite>.json``: what was found, rounded to six digits, and on what."""
    setting = {"cores": os.cpu_count(), "python": platform.python_version(), "torch": metadata.version("torch")}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"setting": setting, **_rounded(found)}, indent=1)
    (RESULTS / f"{suite.name}.json").write_text(text + "\n")


def load(suite: Suite) -> dict[str, Any]:
    """What was saved last.

    Raises:
        FileNotFoundError: nothing was.
    """
    found: dict[str, Any] = json.loads((RESULTS / f"{suite.name}.json").read_text())
    return found


def measured(suites: Iterable[Suite]) -> list[Suite]:
    """Those that something was saved of."""
    return [suite for suite in suites if (RESULTS / f"{suite.name}.json").exists()]


def write_tables(suites: Iterable[Suite], pages: Sequence[Path] = PAGES) -> None:
    """Each suite's table, between its two comments on the one page that has them, made anew from its file.

    Raises:
        ValueError: a suite has no place, or several; then no page is written.
    """
    texts = {page: page.read_text() for page in pages}
    for suite in suites:
        begin, end = f"<!-- python -m benchmarks {suite.name} -->\n", f"<!-- end of {suite.name} -->\n"
        place = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        places = [page for page, text in texts.items() for _ in place.findall(text)]
        if len(places) != 1:
            raise ValueError(
                f"{', '.join(page.name for page in pages)}: expected {begin.strip()} and {end.strip()} once, got "
                f"{len(places)} times"
            )
        body = "\n".join(suite.table(load(suite)))
        table = f"{begin}{body}\n{end}"
        texts[places[0]] = place.sub(lambda _, table=table: table, texts[places[0]])  # type: ignore[misc]
    for page, text in texts.items():
        if text != page.read_text():
            page.write_text(text)


def _rounded(found: Any) -> Any:
    if isinstance(found, float):
        return float(f"{found:.{_DIGITS}g}")
    if isinstance(found, dict):
        return {name: _rounded(each) for name, each in found.items()}
    return [_rounded(each) for each in found] if isinstance(found, (list, tuple)) else found
