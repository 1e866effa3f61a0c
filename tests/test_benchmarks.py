"""Failing workers are reported, environments are whole or absent, tables are made from the JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as benchmarks_main
from benchmarks import environments, interpreter, results
from benchmarks.environments import NotInstalled
from benchmarks.environments import interpreter as environment
from benchmarks.interpreter import INTERPRETER, chosen, int8_only
from benchmarks.rounds import Peer, rounds
from benchmarks.spread import Spread, cell, spread
from benchmarks.suite import Suite, markdown_table
from benchmarks.workers import Worker, WorkerFailed
from export.headers import op_resolver
from qtorch.errors import BadConfiguration

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
    python = environment("empty")
    assert python.exists()
    made = (python.parents[1] / "complete").stat().st_mtime_ns
    assert environment("empty") == python
    assert (python.parents[1] / "complete").stat().st_mtime_ns == made
    requirements.write_text("== 1\n")
    with pytest.raises(NotInstalled, match="empty could not be installed"):
        environment("empty")
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


def test_a_suite_that_lacks_something_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> dict[str, Any]:
        raise BadConfiguration(where="TOOL", expected="a tool", got="nothing", remedy="install it")

    lacking = Suite("lacking", "Lacks.", refuse, lambda found: [found["word"]])
    working = Suite("working", "Works.", lambda: {"word": "new"}, lambda found: [found["word"]])
    monkeypatch.setattr(benchmarks_main, "SUITES", {"lacking": lacking, "working": working})
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(benchmarks_main, "README", tmp_path / "README.md")
    places = "".join(
        f"<!-- python -m benchmarks {name} -->\nold\n<!-- end of {name} -->\n" for name in ("lacking", "working")
    )
    (tmp_path / "README.md").write_text(places)
    results.save(lacking, {"word": "measured"})
    before = (tmp_path / "results" / "lacking.json").read_text()
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    benchmarks_main.main()
    said = capsys.readouterr()
    assert (
        "lacking was not measured, its results stay: TOOL: expected a tool, got nothing. Remedy: install it."
        in said.err
    )
    assert "new" in said.out
    assert (tmp_path / "README.md").read_text() == places.replace("working -->\nold", "working -->\nnew")
    assert (tmp_path / "results" / "lacking.json").read_text() == before
    # Whoever asks for it by name gets an exit code.
    monkeypatch.setattr(sys, "argv", ["benchmarks", "lacking"])
    with pytest.raises(SystemExit) as ended:
        benchmarks_main.main()
    assert ended.value.code == 2
    assert (tmp_path / "results" / "lacking.json").read_text() == before


def test_the_interpreter_is_measured_with_a_library_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFLM_ROOT", raising=False)
    with pytest.raises(BadConfiguration, match=r"TFLM_ROOT: expected TFLite Micro's source tree .*, got nothing"):
        chosen()
    monkeypatch.setenv("TFLM_ROOT", str(tmp_path))
    with pytest.raises(BadConfiguration, match=r"got .*, which has none under gen\. Remedy: clone https"):
        INTERPRETER.measure()
    for folder in ("cortex-m4_release_gcc", "cortex-m4+fp_release_gcc", "cortex-m4_release_cmsis_nn_gcc"):
        file = tmp_path / "gen" / f"cortex_m_generic_{folder}" / "lib" / "libtensorflow-microlite.a"
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.setattr(interpreter, "available", lambda machine: None)
    # Of two libraries that differ in the floating-point unit, one.
    assert [(each.arch, each.kernels) for each in chosen()] == [
        ("cortex-m4", "cmsis_nn"),
        ("cortex-m4+fp", "reference"),
    ]
    monkeypatch.setattr(interpreter, "available", lambda machine: f"{machine.name} needs gcc: apt-get install gcc")
    with pytest.raises(BadConfiguration, match=r"Remedy: cortex_m4 needs gcc: apt-get install gcc\."):
        chosen()


def test_the_interpreter_registers_int8_kernels_alone() -> None:
    resolver = op_resolver("m", ("AddConv2D", "AddReshape", "AddSoftmax"))
    made = int8_only(resolver)
    assert "resolver.AddConv2D(tflite::Register_CONV_2D_INT8())" in made
    assert "resolver.AddSoftmax(tflite::Register_SOFTMAX_INT8())" in made
    assert "resolver.AddReshape()" in made


def test_the_interpreter_s_table_leaves_open_what_was_not_measured() -> None:
    place = {"network": "sine", "machine": "cortex_m4", "samples": 256}
    figures = {"instructions": 1234, "most": 1300, "flash": 2000, "ram": 40, "stack": 8}
    found = {
        "compiler": "gcc 12",
        "emulator": "QEMU 7",
        "optimization": {"core": "-Os", "kernel": "-O2", "third_party_kernel": "-O3"},
        "libraries": [{"machine": "cortex_m4", "arch": "cortex-m4", "build": "release", "kernels": "cmsis_nn"}],
        "programs": [
            {**place, "program": "plain C", **figures},
            {**place, "machine": "cortex_m3", "program": "TFLite Micro, CMSIS-NN", **figures},
        ],
    }
    lines = INTERPRETER.table(found)
    assert "| sine | Cortex-M4 | 1,234 |  |" in lines
    assert "| sine | Cortex-M4 | 2,000; 40; 8 |  |" in lines
    assert "| sine | Cortex-M3 |  | 1,234 |" in lines
    setting = (
        "TFLite Micro for cortex-m4 with BUILD_TYPE release: its kernels at -O2, CMSIS-NN's at -O3, the rest at -Os."
    )
    assert any(line.endswith(setting) for line in lines)
