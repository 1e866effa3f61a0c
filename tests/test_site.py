"""The site has every page, its links lead to pages, and what it has not it names."""

from __future__ import annotations

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
