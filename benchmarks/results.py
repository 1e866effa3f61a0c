"""Results as JSON files, and the README's tables made from them."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.suite import Suite

__all__ = ["README", "RESULTS", "load", "measured", "save", "with_tables"]

README = Path(__file__).parents[1] / "README.md"
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


def with_tables(readme: str, suites: Iterable[Suite]) -> str:
    """The text with each suite's table, between its two comments, made anew from its file.

    Raises:
        ValueError: a suite has no place, or several.
    """
    for suite in suites:
        begin, end = f"<!-- python -m benchmarks {suite.name} -->\n", f"<!-- end of {suite.name} -->\n"
        place = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if len(place.findall(readme)) != 1:
            raise ValueError(
                f"README.md: expected {begin.strip()} and {end.strip()} once, got {readme.count(begin)} times"
            )
        body = "\n".join(suite.table(load(suite)))
        readme = place.sub(lambda _, text=f"{begin}{body}\n{end}": text, readme)  # type: ignore[misc]
    return readme


def _rounded(found: Any) -> Any:
    if isinstance(found, float):
        return float(f"{found:.{_DIGITS}g}")
    if isinstance(found, dict):
        return {name: _rounded(each) for name, each in found.items()}
    return [_rounded(each) for each in found] if isinstance(found, (list, tuple)) else found
