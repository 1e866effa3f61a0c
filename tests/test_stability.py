"""The page on stability names what is public, all of it, and so does the reference."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from tests.test_docs import DOCS

PAGE = (DOCS / "stability.md").read_text()
REFERENCE = (DOCS / "reference.md").read_text()


@pytest.mark.parametrize("module", ["qtorch", "export", "qtorch.errors"])
def test_the_page_has_the_names_that_a_package_calls_public(module: str) -> None:
    names = PAGE.split(f"**Names of `{module}`**")[1].split("\n\n")[1]
    assert re.findall(r"`(\w+)`", names) == sorted(import_module(module).__all__)


@pytest.mark.parametrize("module", ["qtorch", "export"])
def test_the_reference_has_them(module: str) -> None:
    names = re.findall(rf"^::: {module}\.(\w+)$", REFERENCE, re.MULTILINE)
    assert [name for name in names if name != "errors"] == import_module(module).__all__


def test_classes_for_lightning_are_where_the_page_says() -> None:
    paragraph = PAGE.split("**Classes for Lightning**")[1].split("\n\n")[0]
    named = re.findall(r"`(qtorch\.lightning\.[\w.]+)`", paragraph)
    assert len(named) > 5
    for name in named:
        module, _, member = name.rpartition(".")
        assert member in import_module(module).__all__
        assert f"::: {name}\n" in REFERENCE
