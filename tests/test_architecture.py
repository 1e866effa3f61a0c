"""docs/architecture.md is true: its rooms and their order are the import contract's, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib

from docs.house import floors
from docs.rooms import PAGE, with_tables

ROOT = Path(__file__).parents[1]
TEXT = PAGE.read_text(encoding="utf-8")
#: What stands in backticks and begins with a folder of this project.
_PATH = re.compile(r"`((?:qtorch|export|recipes|firmware|benchmarks|docs|tests)/[^`\s]*)`")


def test_its_tables_are_the_contracts_rooms_with_their_own_words() -> None:
    assert with_tables(TEXT) == TEXT, "run `python -m docs`"


@pytest.mark.parametrize("package", ["qtorch", "export"])
def test_every_room_stands_there_on_its_floor(package: str) -> None:
    there = re.findall(rf"^\| (\d+) \| \[`{package}/(\w+)(?:\.py)?`\]\(\S+\) \| (\S.*) \|$", TEXT, re.MULTILINE)
    order = floors()[package]
    assert {room: len(order) - int(floor) for floor, room, _ in there} == {
        room: number for number, names in enumerate(order) for room in names
    }
    rooms = {
        each.stem for each in (ROOT / package).iterdir() if each.suffix == ".py" or (each / "__init__.py").is_file()
    }
    assert {room for _, room, _ in there} == rooms - {"__init__"}


def test_the_folders_beside_them_stand_there() -> None:
    folders = [each.name for each in (ROOT / "firmware").iterdir() if each.is_dir() and not each.name.startswith("_")]
    assert folders
    for name in (*(f"firmware/{each}" for each in folders), "recipes", "benchmarks", "docs", "tests"):
        assert f"[`{name}`](../{name})" in TEXT, name


def test_packages_stand_in_the_contracts_order() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    packages = next(each for each in settings["contracts"] if "containers" not in each and each["type"] == "layers")
    assert "in the order " + ", ".join(f"`{each}`" for each in packages["layers"]) in TEXT


def test_what_it_names_exists() -> None:
    paths = _PATH.findall(TEXT)
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_it_is_short() -> None:
    assert TEXT.count("\n") < 150
