"""The house keeps to its budget and its rooms, and what does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.house import circles, house

PROJECT = """
[tool.house]
longest_file = 20
[tool.house.lines]
one = 30
two = 100
[[tool.importlinter.contracts]]
name = "rooms of one"
containers = ["one"]
layers = ["up | beside", "down"]
[[tool.importlinter.contracts]]
name = "inside up"
containers = ["one.up"]
layers = ["first | third | fourth", "second"]
"""
FILES = {
    "one/__init__.py": "",
    "one/up/__init__.py": "",
    "one/up/first.py": "from one.down import numbers\nfrom one.up.second import x\n",
    "one/up/second.py": "x = 1\n",
    "one/beside.py": "import one.down.numbers\n",
    "one/down/__init__.py": "",
    "one/down/numbers.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import one.up.first\n",
    "two/__init__.py": "",
    "two/user.py": "def use():\n    from one.up import first\n    return first\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for path, text in FILES.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_this_house_keeps_to_its_rules() -> None:
    assert house().faults() == []


def test_lines_and_arrows_are_counted(root: Path) -> None:
    there = house(root)
    assert there.faults() == []
    assert there.lines["one/down/numbers.py"] == 3
    assert there.arrows("one") == {("up", "down"), ("beside", "down")}
    assert ("two.user", "one.up.first") in there.imports
    report = there.report()
    assert "one                                7         30  rooms 3, arrows 2, circles 0" in report
    assert "together                          10        130" in report
    assert "longest, of 20 allowed: one/down/numbers.py 3" in report


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("two/long.py", "x = 1\n" * 21, "two/long.py: expected at most 20 lines, got 21"),
        ("one/up/second.py", "x = 1\n" * 19 + "y = 2\n", None),
        ("one/up/third.py", "x = 1\n" * 19, None),
        (
            "one/attic/things.py",
            "x = 1\n",
            "one/attic/things.py: expected a room that the import contract",
        ),
        (
            "one/loose.py",
            "x = 1\n",
            "one/loose.py: expected a room that the import contract of one names, got 'loose'. Remedy: put the file "
            "into one of one's rooms, or write the new one into `layers` of that contract in pyproject.toml, then run",
        ),
        (
            "one/up/attic.py",
            "x = 1\n",
            "one/up/attic.py: expected a room that the import contract of one.up names, got 'attic'",
        ),
        ("loose.py", "x = 1\n", "loose.py: expected a package with a budget"),
        ("three/__init__.py", "", "three: expected a package with a budget"),
        (
            "one/down/numbers.py",
            "import one.up.first\n",
            "one: expected rooms that import one way, got a circle of down, up: "
            "one/down/numbers.py:1 -> one.up.first, one/up/first.py:1 -> one.down.numbers. Remedy: move what both need",
        ),
        (
            "one/up/second.py",
            "\nfrom one.up import first\n",
            "got a circle of one.up.first, one.up.second: "
            "one/up/first.py:2 -> one.up.second, one/up/second.py:2 -> one.up.first. Remedy: move what both need",
        ),
        ("one/up/second.py", "from . import first\n", "got a circle of one.up.first, one.up.second"),
        ("one/up/second.py", "from .first import first\n", "got a circle of one.up.first, one.up.second"),
        ("one/down/numbers.py", "from ..up import first\n", "got a circle of one.down.numbers, one.up.first"),
        ("one/down/numbers.py", "from ..up.first import x\n", "one: expected rooms that import one way, got a circle"),
        ("one/down/__init__.py", "from . import numbers\nfrom .numbers import x\n", None),
        ("one/down/__init__.py", "from ..up import first\n", "one: expected rooms that import one way, got a circle"),
        ("one/up/__init__.py", "from .first import x\n", None),
    ],
)
def test_what_is_against_the_rules_is_named(root: Path, path: str, text: str, words: str | None) -> None:
    file = root / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    faults = house(root).faults()
    assert any(words in fault for fault in faults) if words else faults == []


def test_a_package_beyond_its_budget_is_named(root: Path) -> None:
    for name in ("third", "fourth"):
        (root / f"one/up/{name}.py").write_text("x = 1\n" * 12)
    assert house(root).faults() == [
        "one: expected at most 30 lines, got 31. Remedy: write less, or raise the budget in pyproject.toml on purpose"
    ]


def test_a_longer_file_has_a_reason_or_is_named(root: Path) -> None:
    (root / "pyproject.toml").write_text(f'{PROJECT}\n[tool.house.longer]\n"two/long.py" = "a table"\n')
    assert [fault.partition(",")[0] for fault in house(root).faults()] == [
        "two/long.py: expected more than 20 lines of a file with an exception in pyproject.toml"
    ]
    (root / "two/long.py").write_text("x = 1\n" * 21)
    assert house(root).faults() == []


def test_circles() -> None:
    assert circles(frozenset({("a", "b"), ("b", "c"), ("a", "c")})) == []
    assert circles(frozenset({("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "f"), ("f", "e")})) == [
        ("a", "b", "c"),
        ("e", "f"),
    ]
