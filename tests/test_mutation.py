"""The run that tries faults: its list fits the sources, and it tells what is caught from what is not."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import mutation
from tests.mutant import Mutant
from tests.mutants import MUTANTS
from tests.mutation import ROOT, mutated, survivors

_IDS = [f"{m.file}: {m.old!r} -> {m.new!r}" for m in MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=_IDS)
def test_every_fault_stands_in_its_file(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert mutated(text, mutant) != text
    assert (ROOT / mutant.tests[0].split("::")[0]).is_file()


def test_no_fault_is_tried_twice() -> None:
    assert not [name for name, count in Counter(_IDS).items() if count > 1]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of one function."""
    found = tmp_path / "tree"
    found.mkdir()
    (found / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    return found


SUM = Mutant("sums.py", "a + b", "a - b", ("tests/test_sums.py",))


def tried(tree: Path, *mutants: Mutant) -> tuple[list[Mutant], list[str]]:
    lines: list[str] = []
    before = {path: path.read_text() for path in tree.rglob("*.py")}
    found = survivors(mutants, tree, lines.append)
    assert {path: path.read_text() for path in before} == before
    return found, [line.split()[0] for line in lines]


def test_what_is_caught_survives_and_makes_no_difference(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "run", _quickly)
    same = replace(SUM, new="b + a", equivalent="sums commute")
    survivor, mistaken = replace(SUM, new="a * b"), replace(SUM, equivalent="nobody knows")
    found, words = tried(tree, SUM, survivor, same, mistaken)
    assert found == [survivor, mistaken]
    assert words == ["caught", "SURVIVED", "equivalent", "CAUGHT"]


def test_tests_that_fail_anyway_prove_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation, "run", _quickly)
    for absent in (("tests/test_sums.py", "-k", "nothing"), ("tests/test_absent.py",)):
        with pytest.raises(RuntimeError, match="without a fault"):
            tried(tree, replace(SUM, tests=absent))
    with pytest.raises(ValueError, match="once, got it 0 times"):
        tried(tree, replace(SUM, old="a + c"))


def _quickly(tests: tuple[str, ...], tree: Path, said: Path) -> int:
    """As pytest would end, without it: exit code 5 says that nothing was selected."""
    said.write_text("nothing was selected")
    scope: dict[str, Any] = {}
    exec((tree / "sums.py").read_text(), scope)
    return int(scope["add"](2, 2) != 4) if tests == SUM.tests else 5


@pytest.mark.mutation
def test_every_fault_is_caught() -> None:
    """Takes some minutes: only ``pytest -m mutation`` runs it, or ``python -m tests.mutation``."""
    command = [sys.executable, "-m", "tests.mutation"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
