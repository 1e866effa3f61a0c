"""A command that takes longer than a moment says what it does, while it does it, and nothing on stdout changes."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from export import __main__ as export_command
from export.console import progress
from export.console.progress import Stage, told
from export.pipeline import run as pipeline
from qtorch.errors import ParityError
from tests.conftest import run_fuel


def _heard(file: io.StringIO, words: str) -> bool:
    """Waits for them, for some seconds."""
    until = time.monotonic() + 10
    while words not in file.getvalue() and time.monotonic() < until:
        time.sleep(0.005)
    return words in file.getvalue()


def test_a_long_stage_is_named_once_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOMENT", 0.02)
    file = io.StringIO()
    with told("counting", file):
        assert _heard(file, "counting ...\n")
        time.sleep(0.06)
    assert file.getvalue() == "counting ...\n"


def test_a_short_or_failing_stage_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOMENT", 0.05)
    file, before = io.StringIO(), threading.active_count()
    with told("short", file):
        pass
    with pytest.raises(ZeroDivisionError), told("failing", file):
        raise ZeroDivisionError
    time.sleep(0.1)
    assert (file.getvalue(), threading.active_count()) == ("", before)


def test_a_recipe_names_every_stage_of_its_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []

    @contextmanager
    def recorded(words: str) -> Iterator[None]:
        said.append(words)
        yield
        said.append("over")

    monkeypatch.setattr(pipeline, "told", recorded)
    assert run_fuel("--out", tmp_path / "out", "--trainer.max_epochs", "2") == 0
    # One after the other, never one inside another.
    assert all((word == "over") == bool(i % 2) for i, word in enumerate(said))
    expected = (
        "loading the data", "trying the export", "loading the data", "writing the integers", "smallest arena",
        "comparing ", "measuring what each tensor loses", "taking test figures", "comparing sizes",
        "writing the report",
    )  # fmt: skip
    assert len(said[::2]) == len(expected)
    assert all(words in line for words, line in zip(expected, said[::2], strict=True))
    printed = capsys.readouterr()
    assert not any(line in printed.out for line in said[::2])


def test_an_export_of_a_checkpoint_names_them_on_stderr(
    fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MOMENT", 0.02)

    def slow(*_arguments: object, stage: Stage, **_options: object) -> None:
        with stage("working"):
            time.sleep(0.5)
        raise ParityError("far enough")

    monkeypatch.setattr("export.commands.export.make_bundle", slow)
    assert export_command.main([str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "working ...\n" in printed.err
    assert printed.out == ""
