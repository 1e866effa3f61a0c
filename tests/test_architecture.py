"""docs/architecture.md is true: its rooms and their order are the import contract's, and what it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import tomllib

from docs.house import floors
from docs.rooms import PAGE, with_tables
from export.command_line.table import COMMANDS
from export.html import page
from tests.pass_cases import PASSES

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


def test_every_room_of_an_export_but_those_of_a_run_knows_nothing_of_training() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(each for each in settings["contracts"] if each["name"].startswith("An export knows nothing"))
    rooms = {f"export.{room}" for floor in floors()["export"] for room in floor}
    of_runs = {"__main__", "command_line", "commands", "float_networks", "lightning_run", "pipeline"}
    assert set(contract["source_modules"]) == rooms - {f"export.{room}" for room in of_runs}
    assert "export.lightning_run" in contract["forbidden_modules"]


def _public(folder: str) -> set[object]:
    """What the files of a folder name in their ``__all__``."""
    stems = [each.stem for each in (ROOT / folder).glob("*.py") if each.stem != "__init__"]
    modules = [import_module(f"{folder.replace('/', '.')}.{stem}") for stem in stems]
    return {getattr(module, name) for module in modules for name in module.__all__ if callable(getattr(module, name))}


def test_every_rewrite_is_called_and_has_cases() -> None:
    rewrites = _public("export/graph/passes")
    calling = vars(import_module("export.graph.build")).values()
    assert rewrites
    assert {each for each in rewrites if each not in calling} == set()
    shown = {name.partition(":")[0] for name in PASSES}
    assert shown == {each.__name__ for each in rewrites}  # type: ignore[attr-defined]


def test_every_section_stands_on_the_page() -> None:
    sections = {each for each in _public("export/html") if getattr(each, "__name__", "").endswith("_section")}
    assert {section for _, _, section in page._SECTIONS} == sections


def test_every_command_can_be_called() -> None:
    commands = {each for each in _public("export/commands") if getattr(each, "__name__", "").endswith("_command")}
    callable_here = {each.load() for each in COMMANDS.values() if each.function.startswith("export.commands.")}
    assert callable_here == commands


def test_what_it_names_exists() -> None:
    paths = _PATH.findall(TEXT)
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_it_is_short() -> None:
    assert TEXT.count("\n") < 180


def test_importing_the_library_imports_no_compiler() -> None:
    """PyTorch's takes longer than all of it; a decorator is enough to bring it in."""
    code = "import qtorch, sys; print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert printed.stdout == "[]\n"
