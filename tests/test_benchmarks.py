"""Failing workers are reported, environments are whole or absent, tables are made from the JSON."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import environments, results
from benchmarks.environments import NotInstalled, interpreter
from benchmarks.rounds import Peer, rounds
from benchmarks.spread import Spread, cell, spread
from benchmarks.suite import Suite, markdown_table
from benchmarks.workers import Worker, WorkerFailed

CONVERTER = "benchmarks.peers.qtorch_conversion"


def test_a_spread_is_the_quartiles() -> None:
    assert spread([5.0, 1.0, 4.0, 2.0, 3.0]) == Spread(3.0, 2.0, 4.0, 5)
    assert spread([2.0, 1.0]) == Spread(1.5, 1.0, 2.0, 2)
    assert cell({"median": 1.5, "low": 1.4, "high": 1.75}) == "1.50 (1.40 to 1.75)"
    assert cell({"median": 1.5, "low": 1.5, "high": 1.5}, ".1f") == "1.5"


def test_a_worker_answers_and_reports_what_its_library_raises() -> None:
    with Worker(Path(sys.executable), CONVERTER) as worker:
        worker.ask("start", task="sine")
        assert worker.ask("turn")["bytes"] == worker.ask("turn")["bytes"] > 1000
        with pytest.raises(WorkerFailed, match="KeyError: 'cosine'"):
            worker.ask("start", task="cosine")
        # It is still there.
        worker.ask("start", task="sine")
    with (
        Worker(Path(sys.executable), "benchmarks.peers.nothing") as worker,
        pytest.raises(WorkerFailed, match="No module"),
    ):
        worker.ask("start", task="sine")


def test_rounds_go_on_without_what_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    # A requirement that no index is asked for, because it is no requirement.
    (tmp_path / "broken.txt").write_text("== 1\n")
    peers = [Peer("ours", CONVERTER), Peer("theirs", CONVERTER, "broken")]
    taken, absent = rounds(peers, ["sine", "cosine"], turns=2)
    assert [list(turn) for turn in taken["sine"]] == [["ours"], ["ours"]]
    assert [list(turn) for turn in taken["cosine"]] == [[], []]
    assert [each.what for each in absent] == ["theirs", "ours, cosine"]
    assert "broken could not be installed" in absent[0].why
    assert [path.name for path in tmp_path.iterdir()] == ["broken.txt"]


def test_an_environment_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "made")
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "_REQUIREMENTS", tmp_path)
    requirements = tmp_path / "empty.txt"
    requirements.write_text("")
    python = interpreter("empty")
    assert python.exists()
    made = (python.parents[1] / "complete").stat().st_mtime_ns
    assert interpreter("empty") == python
    assert (python.parents[1] / "complete").stat().st_mtime_ns == made
    requirements.write_text("== 1\n")
    with pytest.raises(NotInstalled, match="empty could not be installed"):
        interpreter("empty")
    assert list((tmp_path / "made").iterdir()) == [python.parents[1]]


def test_tables_are_put_in_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    suite = Suite("mine", "Mine.", dict, lambda found: markdown_table(["a", "b"], found["rows"]))
    results.save(suite, {"rows": [[1, 2 / 3]]})
    readme = "before\n<!-- python -m benchmarks mine -->\nold\n<!-- end of mine -->\nafter\n"
    made = results.with_tables(readme, [suite])
    assert made == readme.replace("old", "| a | b |\n|---|---|\n| 1 | 0.6667 |")
    assert results.with_tables(made, [suite]) == made
    with pytest.raises(ValueError, match=r"README.md: expected .* got 0 times"):
        results.with_tables("", [suite])
