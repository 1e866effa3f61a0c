"""A run that is killed and goes on ends as one that was not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.small_task import EPOCHS

ROOT = Path(__file__).parents[1]


def train(folder: Path, *kill: int) -> int:
    command = [sys.executable, "-W", "ignore", "-m", "tests.small_task", str(folder), *map(str, kill)]
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=ROOT, capture_output=True).returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder) == 0
    return folder


# In float training, in the epoch that calibrates, while ranges follow, with batch norms frozen, in exact mode.
@pytest.mark.parametrize("kill", [((1, 2),), ((3, 0),), ((4, 5), (4, 3), (6, 1)), ((EPOCHS - 1, 5),)])
def test_a_killed_run_ends_as_an_uninterrupted_one(
    uninterrupted: Path, tmp_path: Path, kill: tuple[tuple[int, int], ...]
) -> None:
    folder = tmp_path / "killed"
    for at in kill:
        assert train(folder, *at) == -signal.SIGKILL
        assert not (folder / "model.tflite").exists()
    assert train(folder) == 0
    assert (folder / "model.tflite").read_bytes() == (uninterrupted / "model.tflite").read_bytes()
    expected, got = (torch.load(f / "weights.pt", weights_only=True) for f in (uninterrupted, folder))
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, got[name]), name
        else:
            assert str(value) == str(got[name]), name
