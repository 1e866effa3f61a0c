"""On another device than the CPU a network computes the CPU's integers, mixes no devices, and waits for nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.second_device_answers import ASKED
from tests.warm_python import warm_python

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is wrong on the second device, by question and network."""
    pytest.importorskip("torch.utils.backend_registration")
    path = tmp_path_factory.mktemp("second") / "answers.json"
    done = warm_python(["-W", "ignore", "-m", "tests.second_device_answers", str(path)], ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[str]] = json.loads(path.read_text())
    return found


@pytest.mark.sweep
@pytest.mark.parametrize(("question", "name"), [(q, n) for q, names in ASKED.items() for n in names])
def test_on_a_second_device(question: str, name: str, answers: dict[str, list[str]]) -> None:
    assert answers[f"{question}-{name}"] == []
