"""What pyproject.toml promises of other packages is what was tested: its lower ends, and the pinned set."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def declared() -> dict[str, Requirement]:
    """The core's dependencies by name; read by pattern, for Python 3.10 has no reader of TOML."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    parsed = [Requirement(line) for line in re.findall(r'^  "(.*)",$', found[1], re.MULTILINE)]
    return {each.name: each for each in parsed}


def pinned(file: str) -> list[Requirement]:
    lines = (ROOT / file).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_lower_ends_are_those_that_are_tested() -> None:
    lowest = {name: str(each.specifier)[2:] for name, each in declared().items() if ">=" in str(each.specifier)}
    assert lowest == {each.name: str(each.specifier)[2:] for each in pinned("constraints-lowest.txt")}
    assert len(lowest) == 7


def test_every_python_that_is_promised_has_a_pinned_set() -> None:
    for python in ("3.10", "3.11", "3.12", "3.13"):
        names = [
            each.name
            for each in pinned("constraints.txt")
            if each.marker is None or each.marker.evaluate({"python_version": python})
        ]
        assert len(names) == len(set(names))
        assert set(declared()) <= set(names)
    (numpy,) = [
        e for e in pinned("constraints.txt") if e.name == "numpy" and e.marker is not None and "<" in str(e.marker)
    ]
    # The last that was made for it.
    assert Version(str(numpy.specifier)[2:]) < Version("2.3")


def test_the_pinned_set_is_what_is_promised() -> None:
    promised = declared()
    for each in pinned("constraints.txt"):
        if each.name in promised:
            assert promised[each.name].specifier.contains(str(each.specifier)[2:], prereleases=True), each
