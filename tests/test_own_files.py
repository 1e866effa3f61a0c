"""What lies in the working folder under one of the project's names is not what a command means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The console script, as an installer writes it.
SCRIPT = "import sys\nfrom export.command_line import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
#: What a person may have lying about.
MINE = ("export.py", "qtorch.py", "recipes.py", "firmware.py")
TASK = """
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine

class MySine(Sine):
    task = "mine"
"""
RUN = """
model: {class_path: my_task.MySine}
data: {class_path: my_task.SineData, init_args: {samples: 100}}
trainer: {max_epochs: 2, accelerator: cpu, logger: false, enable_progress_bar: false, enable_model_summary: false}
"""


def ran(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a Python of its own says."""
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip


@pytest.fixture
def script(tmp_path: Path) -> str:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "qtorch").write_text(SCRIPT)
    return str(tmp_path / "bin" / "qtorch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a task in it, and files that are called as the project's packages."""
    here = tmp_path / "work"
    here.mkdir()
    for name in MINE:
        (here / name).write_text("raise SystemExit('mine was run')\n")
    (here / "my_task.py").write_text(TASK)
    (here / "run.yaml").write_text(RUN)
    return here


@pytest.mark.sweep
@pytest.mark.tflm
def test_the_command_is_ours_and_the_classes_are_mine(script: str, folder: Path) -> None:
    """Lightning calls the command again for each process of a run."""
    two = ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
    done = ran([script, "fit", "--config", "run.yaml", "--out", "o", *two], folder)
    assert done.returncode == 0, done.stderr
    assert "GLOBAL_RANK: 1, MEMBER: 2/2" in done.stderr
    done = ran([script, "verify", "o/mine.tflite", "--against", "o/mine.ckpt"], folder)
    assert done.returncode == 0, done.stderr


def test_a_path_with_the_working_folder_in_it(script: str, folder: Path) -> None:
    """An ``export.py`` that the path puts first is imported by the script itself, which nothing here can prevent."""
    (folder / "export.py").unlink()
    done = ran([script, "support"], folder, PYTHONPATH=f".{os.pathsep}{ROOT}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| TFLite Micro |")


def test_called_as_a_module(folder: Path) -> None:
    """``python -m qtorch`` beside a ``qtorch.py`` is that file, as Python has it; beside the others it is ours."""
    (folder / "qtorch.py").unlink()
    done = ran(["-m", "qtorch", "support"], folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| TFLite Micro |")
    (folder / "export.py").unlink()
    (folder / "qtorch.py").write_text("raise SystemExit('mine was run')\n")
    done = ran(["-m", "export", "support"], folder)
    assert done.returncode == 0, done.stderr


def test_another_package_that_came_first_is_named(script: str, folder: Path) -> None:
    (folder / "bin").mkdir()
    early = "import sys; sys.path.insert(0, '.'); import recipes; del sys.path[0]\n"
    (folder / "recipes.py").write_text("")
    (folder / "bin" / "qtorch").write_text(early + SCRIPT)
    done = ran([str(folder / "bin" / "qtorch"), "support"], folder)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {folder / 'recipes.py'} has the name of a package of qtorch's, and was loaded in its place. "
        "Remedy: rename it."
    ]


def test_a_name_beyond_ascii(script: str, folder: Path) -> None:
    done = ran(
        [script, "export", "no.ckpt", "--out", "ä_x"], folder, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no.ckpt: expected a Lightning checkpoint")
