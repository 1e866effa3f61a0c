"""Links and pictures of pages as the site needs them; pages name files of the repository, so that both can be read.

A link to a page of the site becomes one to that page; one to any other file or folder becomes its name, as the site has
no sources.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["PAGES", "page_of", "with_links"]

ROOT = Path(__file__).parents[2]

#: By their paths in the repository, pages that lie outside ``docs`` or that the site calls otherwise.
PAGES = {
    "README.md": "index.md",
    "docs/README.md": "documentation.md",
    "firmware/tflm/README.md": "firmware_tflm.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_IMAGE = re.compile(r'(?P<before>!\[[^\]]*\]\(|<img src=")(?P<file>[^)"\s]+)')


def page_of(path: str) -> str | None:
    """The site's name of a page or picture, by its path in the repository; ``None`` if the site has none."""
    if path in PAGES:
        return PAGES[path]
    inside = path.removeprefix("docs/")
    if inside == path:
        return None
    if inside.endswith(".ipynb"):
        return inside.replace(".ipynb", ".md")
    return inside if inside.endswith((".md", ".svg", ".png")) else None


def with_links(text: str, source: str) -> str:
    """Markdown of the repository's file ``source``, with the site's links.

    >>> with_links("[the words](README.md#words), [rows](../qtorch/ops)", "docs/tutorial.md")
    '[the words](documentation.md#words), rows (`qtorch/ops`)'

    Args:
        text: as it stands in the repository.
        source: its path there.

    Raises:
        ValueError: a link leads nowhere, or a picture is none of ``docs``.
    """
    folder = os.path.dirname(source)

    def target(link: str) -> str:
        path = os.path.normpath(os.path.join(folder, link))
        if not (ROOT / path).exists():
            raise ValueError(f"{source}: expected a file of the repository, got {link}")
        return path

    def linked(match: re.Match[str]) -> str:
        label, (file, mark, anchor) = match[1], match[2].partition("#")
        if "://" in match[2] or not file:
            return match[0]
        path = target(file)
        page = page_of(path)
        if page:
            return f"[{label}]({page}{mark}{anchor})"
        return label if path in label else f"{label} (`{path}`)"

    def shown(match: re.Match[str]) -> str:
        picture = page_of(target(match["file"]))
        if picture is None:
            raise ValueError(f"{source}: expected a picture in docs, got {match['file']}")
        return match["before"] + picture

    return _IMAGE.sub(shown, _LINK.sub(linked, text))
