"""What is published: built, installed into an environment of its own, and run from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import qtorch
from export.boards import BOARDS

pytestmark = pytest.mark.sweep

ROOT = Path(__file__).parents[1]
PACKAGES = ("qtorch", "export", "recipes", "firmware")
_CACHES = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "dist")

#: A board of each ecosystem, of CMake the host too, and the Uno, which has the network in plain C.
_PROJECTS = ("uno", *{(type(each.ecosystem), each.cpu == "host"): each.name for each in BOARDS.values()}.values())
#: In one process, for importing PyTorch takes longer than all the rest.
_COMMANDS = f"""
import runpy, sys

def typed(*words):
    sys.argv = list(words)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, words

typed("qtorch", "recipe", "sine", "--trainer.max_epochs", "4", "--trainer.enable_progress_bar", "false", "--out", "o")
for board in {_PROJECTS!r}:
    words = "--export.c", "--export.target", board, "--export.firmware", f"p/{{board}}/project"
    typed("export", "o/sine.ckpt", "--out", f"p/{{board}}", *words)
import numpy, torch
torch.save(torch.nn.Sequential(torch.nn.Linear(3, 2)), "net.pt")
numpy.save("x.npy", numpy.random.default_rng(0).random((50, 3), numpy.float32))
typed("qtorch", "quantize", "net.pt", "--data", "x.npy", "--out", "p/float")
typed("export", "verify", "p/uno/sine.tflite", "--against", "o/sine.ckpt")
ours = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in {PACKAGES!r}]
assert ours and all(file.startswith(sys.prefix) for file in ours), ours
"""


def _built(source: Path, hook: str, out: Path) -> Path:
    """What a hook of the build backend makes of a folder of sources; without isolation, which would download it."""
    out.mkdir()
    words = [sys.executable, "-c", f"from setuptools.build_meta import {hook} as build; build({str(out)!r})"]
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    (file,) = out.iterdir()
    return file


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree: building leaves folders behind, and would take up what an earlier one left."""
    copy = tmp_path_factory.mktemp("sources") / "tree"
    copy.mkdir()
    for folder in (*PACKAGES, "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=_CACHES)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(sources, "build_wheel", tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a fresh environment with the wheel.

    What it depends on is read from where these tests run, through a .pth file: another copy would take gigabytes and
    minutes. Files of a folder named so are imported, its own .pth files are not read, so that an editable
    installation there is none here.
    """
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    # From elsewhere: pip takes what a working folder or PYTHONPATH holds for installed.
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index")
    _run(folder, *pip, wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def _run(folder: Path, *words: str | Path) -> str:
    """What a command prints in a folder, without a way to this tree."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    contents = _contents(wheel)
    assert wheel.name == f"qtorch_tflm-{qtorch.__version__}-py3-none-any.whl"
    information = f"qtorch_tflm-{qtorch.__version__}.dist-info"
    assert {name.split("/")[0] for name in contents} == {*PACKAGES, information}
    assert [name for name in contents if name.endswith((".pyc", ".pyo")) or "__pycache__" in name] == []
    # A type checker reads annotations of an installed package where this file says so.
    assert {f"{package}/py.typed" for package in PACKAGES} <= contents.keys()
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    pages = {name for name in expected if name.endswith(".md") and not name.startswith("firmware/")}
    assert expected - pages <= contents.keys()
    metadata = contents[f"{information}/METADATA"].decode()
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert contents[f"{information}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_a_source_distribution_builds_the_same_wheel(sources: Path, wheel: Path, tmp_path: Path) -> None:
    archive = _built(sources, "build_sdist", tmp_path / "dist")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = _built(unpacked, "build_wheel", tmp_path / "again")
    assert _contents(again) == _contents(wheel)
    # What tests and documents it comes along.
    assert {"Makefile", "CHANGELOG.md", "constraints.txt", "tests", "docs"} <= {
        each.name for each in unpacked.iterdir()
    }
    assert (unpacked / "tests" / "golden").is_dir()


@pytest.mark.tflm
def test_the_wheel_trains_exports_and_verifies_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert "usage: qtorch" in _run(tmp_path, installed / "qtorch", "--help")
    page = _run(tmp_path, installed / "python", "-c", _COMMANDS)
    assert [board for board in _PROJECTS if f"written to p/{board}/: " not in page] == []
    assert all(any((tmp_path / "p" / board / "project").iterdir()) for board in _PROJECTS)
