"""What mkdocs calls while it builds the site: pages from outside ``docs`` come in, links become the site's."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from docs.site.links import PAGES, ROOT, with_links

__all__ = ["on_files", "on_page_content", "on_page_markdown"]

#: Marks that other documentation tools read in docstrings: a name follows in code.
_ROLE = re.compile(r":(?:class|func|mod|data|meth|attr):<code>~?")


def on_files(files: Any, config: Any) -> Any:
    """Pages from elsewhere, put in; those with another name, renamed."""
    for path, page in PAGES.items():
        if path.startswith("docs/"):
            files.remove(files.get_file_from_path(path.removeprefix("docs/")))
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with the site's links.

    Raises:
        PluginError: a link that leads nowhere.
    """
    sources = {name: path for path, name in PAGES.items()}
    try:
        return with_links(markdown, sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    except ValueError as error:
        raise PluginError(str(error)) from error


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings without the marks of other tools."""
    return _ROLE.sub("<code>", html)
