"""Tables of rooms for docs/architecture.md: of the import contract, with the first line of each room's docstring."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from docs.house import floors

__all__ = ["PAGE", "first_paragraph", "with_tables"]

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("architecture.md")

_TABLE = re.compile(r"<!-- rooms of (?P<package>\w+) -->\n.*?<!-- end of rooms -->", re.DOTALL)


def with_tables(text: str) -> str:
    """A page with every table between ``<!-- rooms of PACKAGE -->`` and ``<!-- end of rooms -->`` made anew."""
    return _TABLE.sub(lambda found: _table(found["package"]), text)


def _table(package: str) -> str:
    rows = [f"<!-- rooms of {package} -->", "| floor | room | holds |", "|---|---|---|"]
    for number, floor in enumerate(reversed(floors()[package]), 1):
        for room in sorted(floor):
            folder = ROOT / package / room
            file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            path = f"{package}/{room}" if folder.is_dir() else f"{package}/{room}.py"
            rows.append(f"| {number} | [`{path}`](../{path}) | {_holds(file)} |")
    return "\n".join([*rows, "<!-- end of rooms -->"])


def _holds(file: Path) -> str:
    return first_paragraph(ast.parse(file.read_text(encoding="utf-8")))


def first_paragraph(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """Of a docstring, on one line, without Sphinx's marks."""
    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split()).replace("``", "`")
    return re.sub(r":(class|func|mod|data|meth):", "", text).replace("`~", "`")
