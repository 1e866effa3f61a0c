"""The order of tests: the long ones, by names that exist, before all others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import LONG, longest_first


def test_long_tests_begin_first_and_the_others_stay_in_order() -> None:
    names = ["tests/test_a.py::test_b", f"tests/{LONG[1]}[1]", "tests/test_a.py::test_a", f"tests/{LONG[1]}[0]"]
    names.append(f"tests/{LONG[0]}")
    assert longest_first(names) == [4, 1, 3, 0, 2]


@pytest.mark.parametrize("name", LONG)
def test_a_long_test_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"\ndef {function}(" in (Path(__file__).parent / file).read_text()
