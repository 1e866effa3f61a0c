"""What mkdocs calls while it builds the site: pages from elsewhere and notebooks come in, links become the site's."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from docs.site.links import PAGES, ROOT, page_of, with_links
from docs.site.notebooks import executed, page_of_notebook

__all__ = ["on_files", "on_page_content", "on_page_markdown"]

#: Marks that other documentation tools read in docstrings: a name follows in code.
_ROLE = re.compile(r":(?:class|func|mod|data|meth|attr):<code>~?")

#: What notebooks show that is no Markdown, by page and by the word that stands for it.
_html: dict[str, dict[str, str]] = {}


def on_files(files: Any, config: Any) -> Any:
    """Pages from elsewhere, put in; those with another name, renamed; notebooks, run."""
    for path, page in PAGES.items():
        if path.startswith("docs/"):
            files.remove(files.get_file_from_path(path.removeprefix("docs/")))
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    for notebook in sorted((ROOT / "docs").glob("*.ipynb")):
        page = page_of(f"docs/{notebook.name}") or ""
        content, _html[page] = page_of_notebook(executed(notebook))
        files.append(File.generated(config, page, content=content))
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


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Docstrings without the marks of other tools; what notebooks show, put in."""
    html = _ROLE.sub("<code>", html)
    for word, shown in _html.get(page.file.src_uri, {}).items():
        html = html.replace(f"<p>{word}</p>", shown)
    return html
