"""Notebooks of ``docs``: run from top to bottom, and as the site's pages."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.site.links import ROOT

__all__ = ["executed", "page_of_notebook"]

#: Seconds that a cell may take.
_LIMIT = 300


def executed(notebook: Path, folder: Path | None = None) -> Any:
    """The notebook with its outputs; the file stays as it is.

    Args:
        notebook: an .ipynb file.
        folder: to run it in; an empty one of its own if ``None``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        # The kernel's folder is another one, and it has the packages of the process that starts it.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        where = {"metadata": {"path": str(folder or empty)}}
        client = NotebookClient(content, timeout=_LIMIT, resources=where)
        client.execute(env=environment)
    return content


def page_of_notebook(content: Any) -> tuple[str, dict[str, str]]:
    """An executed notebook as Markdown, and the HTML that is put into it afterwards, by the word that stands for it."""
    parts: list[str] = []
    html: dict[str, str] = {}
    for cell in content.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for text in _shown(cell.outputs, html):
            parts.append(text)
    return "\n\n".join(parts) + "\n", html


def _shown(outputs: Any, html: dict[str, str]) -> Iterator[str]:
    for output in outputs:
        # Lines on stderr and displays that change say what is being done; they are no results.
        if output.output_type == "stream" and output.name == "stdout":
            yield f"```text\n{output.text.strip()}\n```"
        elif output.output_type == "execute_result":
            if "text/html" in output.data:
                word = f"NOTEBOOK-HTML-{len(html)}-"
                html[word] = output.data["text/html"]
                yield word
            else:
                yield f"```text\n{output.data['text/plain']}\n```"
