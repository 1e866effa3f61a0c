"""The page on stability names what is public, all of it, and so does the reference."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from export.command_line.own_packages import OWN
from tests.test_docs import DOCS, ROOT

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


def test_what_is_deprecated_is_what_warns() -> None:
    table = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    raised = {path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] in OWN}
    warning = {path for path in raised if "DeprecationWarning" in path.read_text()}
    elsewhere = {"`Mode.FAKE`": "qtorch/network/mode.py", "exact_after": "qtorch/lightning/phases.py"}
    assert all(old in PAGE for old in elsewhere)
    moved = {ROOT.joinpath(*old.split(".")[:-1]).with_suffix(".py") for old, _, _ in table}
    assert moved | {ROOT / path for path in elsewhere.values()} == warning
    for old, new, gone in table:
        (module, name), (home, now) = old.rsplit(".", 1), new.rsplit(".", 1)
        with pytest.warns(DeprecationWarning, match=rf"^{re.escape(old)} is {re.escape(new)} now; .* {gone}$"):
            assert getattr(import_module(module), name) is getattr(import_module(home), now)


def test_classes_for_lightning_are_where_the_page_says() -> None:
    paragraph = PAGE.split("**Classes for Lightning**")[1].split("\n\n")[0]
    named = re.findall(r"`(qtorch\.lightning\.[\w.]+)`", paragraph)
    assert len(named) > 5
    for name in named:
        module, _, member = name.rpartition(".")
        assert member in import_module(module).__all__
        assert f"::: {name}\n" in REFERENCE
