"""The site has every page, its links lead to pages, and what it has not it names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.site.links import PAGES, page_of, with_links
from tests.test_docs import DOCS, ROOT


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a](README.md#words)", "[a](documentation.md#words)"),
        ("[a](../README.md)", "[a](index.md)"),
        ("[a](tutorial.md), [b](#words)", "[a](tutorial.md), [b](#words)"),
        ("[`qtorch/ops`](../qtorch/ops)", "`qtorch/ops`"),
        ("[a form](../export/forms/form.py)", "a form (`export/forms/form.py`)"),
        ("[a](https://example.com/a.md#b)", "[a](https://example.com/a.md#b)"),
        ('<img src="images/way.svg" alt="a">', '<img src="images/way.svg" alt="a">'),
    ],
)
def test_a_link_becomes_the_sites(written: str, shown: str) -> None:
    assert with_links(written, "docs/tutorial.md") == shown


def test_links_are_read_from_where_the_page_lies() -> None:
    assert with_links("[a](docs/tutorial.md)", "README.md") == "[a](tutorial.md)"
    assert with_links("[a](../../docs/devices.md)", "firmware/tflm/README.md") == "[a](devices.md)"


@pytest.mark.parametrize(
    "written", ["[a](nowhere.md)", "[a](../nowhere)", "![a](images/nowhere.svg)", "![a](../Makefile)"]
)
def test_a_link_that_leads_nowhere_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"docs/tutorial\.md: expected"):
        with_links(written, "docs/tutorial.md")


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS / "site" / "mkdocs.yml").read_text().split("\nnav:")[1]
    pages = {page_of(str(page.relative_to(ROOT))) for page in (*DOCS.glob("*.md"), *DOCS.glob("*.ipynb"))}
    for page in pages | set(PAGES.values()):
        assert f" {page}\n" in navigation


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert "font: false" in (DOCS / "site" / "mkdocs.yml").read_text()
    for picture in Path(DOCS / "images").glob("*.svg"):
        assert "http" not in picture.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")


def _copy(folder: Path) -> Path:
    """What the site is made of, without the notebooks' code and the reference's names, which take their time."""
    for path in ("docs", *PAGES):
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, folder / path, ignore=shutil.ignore_patterns("__pycache__"))
        elif not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    for notebook in folder.glob("docs/*.ipynb"):
        content = json.loads(notebook.read_text())
        content["cells"] = [cell for cell in content["cells"] if cell["cell_type"] == "markdown"]
        notebook.write_text(json.dumps(content))
    (folder / "docs" / "reference.md").write_text("# Reference\n")
    # Links lead to whatever the repository has, and are followed no further.
    for inside in ("", "firmware", "firmware/tflm"):
        for path in (ROOT / inside).iterdir():
            there = folder / inside / path.name
            if not path.name.startswith(".") and path.name != "build" and not there.exists():
                there.symlink_to(path)
    return folder


def _built(folder: Path) -> subprocess.CompletedProcess[str]:
    (command,) = re.findall(r"-m (mkdocs build .*)", (ROOT / "Makefile").read_text())
    return subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(folder), "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


@pytest.mark.sweep
def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    for package in ("material", "mkdocstrings", "nbclient", "ipykernel"):
        pytest.importorskip(package, reason="make docs installs it")
    page = _copy(tmp_path) / "docs" / "call.md"
    done = _built(tmp_path)
    assert done.returncode == 0, done.stderr
    whole = page.read_text()
    for link, said in (
        ("nowhere.md", "docs/call.md: expected a file"),
        ("tutorial.md#nowhere", "an anchor .#nowhere."),
    ):
        page.write_text(f"{whole}\n[broken]({link})\n")
        done = _built(tmp_path)
        assert done.returncode != 0
        assert re.search(said, done.stderr)
