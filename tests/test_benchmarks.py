"""Failing workers are reported, environments are whole or absent, the documentation's tables are those of the JSON."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx

from benchmarks import __main__ as benchmarks_main
from benchmarks import environments, firmware, gpu, opinions, overhead, results
from benchmarks import interpreter as interpreter_suite
from benchmarks.environments import NotInstalled, interpreter
from benchmarks.interpreter import INTERPRETER, chosen, int8_only
from benchmarks.mlperf_networks import REFERENCES
from benchmarks.recipes import RECIPES
from benchmarks.rounds import Peer, rounds
from benchmarks.spread import Spread, cell, spread
from benchmarks.stress import EIGHT_BITS, FOUR_BITS, STRESS
from benchmarks.suite import Suite, markdown_table, share
from benchmarks.suites import SUITES
from benchmarks.workers import Worker, WorkerFailed
from export.device.headers import op_resolver
from export.graph.build import integer_graph
from firmware.emulation import MACHINES, available
from qtorch.errors import BadConfiguration

ROOT = Path(__file__).parents[1]
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


def test_rounds_go_on_without_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Path:
        """What the next test sees a real one raise."""
        raise NotInstalled(f"{name} could not be installed: no such requirement")

    monkeypatch.setattr("benchmarks.rounds.interpreter", broken)
    peers = [Peer("ours", CONVERTER), Peer("theirs", CONVERTER, "broken")]
    taken, absent = rounds(peers, ["sine", "cosine"], turns=2)
    assert [list(turn) for turn in taken["sine"]] == [["ours"], ["ours"]]
    assert [list(turn) for turn in taken["cosine"]] == [[], []]
    assert [each.what for each in absent] == ["theirs", "ours, cosine"]
    assert "broken could not be installed" in absent[0].why


@pytest.mark.sweep
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
    # A requirement that no index is asked for, because it is no requirement.
    requirements.write_text("== 1\n")
    with pytest.raises(NotInstalled, match="empty could not be installed"):
        interpreter("empty")
    assert list((tmp_path / "made").iterdir()) == [python.parents[1]]


def test_tables_are_put_in_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    suite = Suite("mine", "Mine.", dict, lambda found: markdown_table(["a", "b"], found["rows"]))
    results.save(suite, {"rows": [[1, 2 / 3]]})
    text = "before\n<!-- python -m benchmarks mine -->\nold\n<!-- end of mine -->\nafter\n"
    first, second = pages = (tmp_path / "first.md", tmp_path / "second.md")
    first.write_text("none here\n")
    second.write_text(text)
    for _ in range(2):
        results.write_tables([suite], pages)
        assert second.read_text() == text.replace("old", "| a | b |\n|---|---|\n| 1 | 0.666667 |")
        assert first.read_text() == "none here\n"
    with pytest.raises(ValueError, match=r"first.md: expected .* got 0 times"):
        results.write_tables([suite], [first])
    first.write_text(text)
    with pytest.raises(ValueError, match=r"first.md, second.md: expected .* got 2 times"):
        results.write_tables([suite], pages)
    assert first.read_text() == text


def test_the_pages_have_the_tables_of_the_results(tmp_path: Path) -> None:
    suites = results.measured(SUITES.values())
    # The one that takes a GPU is measured where there is one.
    assert {suite.name for suite in suites} | {"gpu"} == SUITES.keys()
    copies = [Path(shutil.copy(page, tmp_path)) for page in results.PAGES]
    results.write_tables(suites, copies)
    assert [copy.read_text() for copy in copies] == [page.read_text() for page in results.PAGES], (
        "run python -m benchmarks --tables"
    )
    named = re.findall(r"<!-- python -m benchmarks (\w+) -->", "".join(page.read_text() for page in copies))
    assert sorted(named) == sorted(SUITES)


def test_what_is_measured_on_a_gpu_is_measured_here_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "REFERENCES", REFERENCES[:1])
    found = gpu.measured_on(torch.device("cpu"), batch=4, steps=1, turns=1, compiles=False)
    assert [each["network"] for each in found["steps"]] == ["DS-CNN"]
    assert found["steps"][0]["ratios"]["float"]["median"] == 1
    assert found["steps"][0]["ratios"]["quantized"]["median"] > 0
    assert [each["different"] for each in found["integers"]] == [0] * 4
    page = "\n".join(gpu.GPU.table(found))
    assert "| DS-CNN | quantized | " in page
    assert "differ from the CPU's: none." in page
    found["integers"][0]["different"] = 3
    assert "DS-CNN, int8: 3 of " in "\n".join(gpu.GPU.table(found))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_the_benchmark_refuses_in_words() -> None:
    with pytest.raises(BadConfiguration, match=r"expected a GPU.*python -m benchmarks gpu"):
        gpu.GPU.measure()


def test_what_is_less_than_all_is_not_said_to_be_all() -> None:
    assert [share(n, 128_000) for n in (0, 1, 1_280, 128_000)] == ["100 %", "99.999 %", "99.00 %", "0.00 %"]


def pins(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines():
        found = re.fullmatch(r"([\w-]+)(?:\[\w+\])?==([\w.]+)(?:;(?! python_version <).*)?", line)
        if found:
            yield found[1], found[2]


def test_the_opinions_environment_is_the_set_that_is_tested_together() -> None:
    """What this project and its second opinions need is in it, at the versions of constraints.txt."""
    tested = dict(pins(ROOT / "constraints.txt"))
    installed = dict(pins(ROOT / "benchmarks" / "peers" / "requirements" / "opinions.txt"))
    assert installed.items() <= tested.items()
    project = (ROOT / "pyproject.toml").read_text()
    core = re.findall(r'^  "([\w-]+)', project[project.index("\ndependencies = [") :].split("\n]")[0], re.M)
    assert "torch" in core
    assert {*core, *(package.replace("_", "-") for package in opinions.EXTRAS)} <= installed.keys()


def test_a_missing_environment_is_a_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Path:
        raise NotInstalled(f"{name} could not be installed: no network")

    monkeypatch.setattr(opinions, "missing", lambda *_: ("tensorflow",))
    monkeypatch.setattr(opinions, "interpreter", absent)
    found = opinions.OPINIONS.measure()
    assert found["networks"] == []
    assert opinions.OPINIONS.table(found)[-1] == "all files: opinions could not be installed: no network."


def recipe_run(seed: int, mse: float, **other: Any) -> dict[str, Any]:
    figures = {"line": 0.5, "float": mse, "ptq_int8": mse, "qat_int8": mse, "bytes": 1000 + seed, "outputs": 1000}
    everywhere = {"largest": 0.02 + 0.01 * seed, "mse": 5e-5}
    return {**figures, "seed": seed, "exact_mismatches": 0, "everywhere": everywhere, **other}


def test_recipes_show_the_mean_the_spread_and_the_worst_seed() -> None:
    runs = [recipe_run(0, 0.1), recipe_run(1, 0.3)]
    found = {"recipes": [{"recipe": "sine without noise", "figure": "mse", "runs": runs}]}
    row, _, sentence = RECIPES.table(found)[-3:]
    spread_cell = "0.200 (0.100 to 0.300)"
    cells = ["sine without noise (a straight line: 0.500)", "MSE", *[spread_cell] * 3, "1,001", "100 %"]
    assert row == f"| {' | '.join(cells)} |"
    assert "at most 0.020 to 0.030 (median of the seeds 0.025)" in sentence
    runs[1]["exact_mismatches"] = 1
    assert RECIPES.table(found)[-3].endswith("| 99.90 % |")


def test_stress_shows_means_and_the_worst_seed_of_both() -> None:
    names = [row.name for row in (*EIGHT_BITS, *FOUR_BITS)]
    assert len(set(names)) == len(names)
    right = {"no stress": [10, 10], "both": [10, 5]}
    training = [{"outputs": 100, "mismatches": 0}, {"outputs": 100, "mismatches": 1}]
    found = {
        "pictures": 10,
        "eight_bits": [{"row": "a", "right": right, "training": training}],
        "four_bits": [{"row": "b", "right": [9, 8], "training": training[:1]}, {"row": "float", "right": [9, 9]}],
    }
    lines = STRESS.table(found)
    assert lines[2] == "| a | 100.0 | 75.0 | 50.0 | 99.00 % |"
    assert lines[-2:] == ["| b | 85.0 | 80.0 | 100 % |", "| float | 90.0 | 90.0 |  |"]


def test_overhead_is_a_ratio_within_a_turn() -> None:
    found = overhead._ratios(
        [{"float": 1.0, "quantized": 2.0}, {"float": 2.0, "quantized": 5.0}, {"float": 4.0, "quantized": 12.0}]
    )
    assert found["float_s"]["median"] == 2.0
    assert (found["quantized"]["median"], found["quantized"]["count"]) == (2.5, 3)
    turns = overhead._in_turn({"a": lambda: None, "b": lambda: None}, 2)
    assert [list(turn) for turn in turns] == [["a", "b"]] * 2


@pytest.mark.qemu
def test_a_cost_on_a_machine(network: fx.GraphModule) -> None:
    machine = MACHINES["cortex_m4"]
    if why := available(machine):
        pytest.skip(why)
    graph = integer_graph(network)
    cost = firmware._cost(graph, machine, 4, "size")
    limits = firmware._limits(graph)
    assert limits["products"] == 2 * limits["smlad"] == 3 * 6 + 6 * 4 + 4
    assert cost["of_smlad"] == pytest.approx(cost["median"] / limits["smlad"])
    assert cost["flash"] > limits["products"]
    assert cost["memory"] >= limits["least_memory"] >= 6 + 4
    found = {
        "networks": [{"network": "tiny", **limits}],
        "costs": [{"network": "tiny", "build": build, **cost} for build in ("size", "speed")],
        "layers": {},
        "absent": [],
    }
    rows = [line for line in firmware.FIRMWARE.table(found) if line.startswith("| tiny")]
    # One build that is the other has one line.
    assert len(rows) == 1
    assert f"| Cortex-M4 | size | {cost['median']:,} instructions |" in rows[0]


def test_a_suite_that_lacks_something_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> dict[str, Any]:
        raise BadConfiguration(where="TOOL", expected="a tool", got="nothing", remedy="install it")

    lacking = Suite("lacking", "Lacks.", refuse, lambda found: [found["word"]])
    working = Suite("working", "Works.", lambda: {"word": "new"}, lambda found: [found["word"]])
    monkeypatch.setattr(benchmarks_main, "SUITES", {"lacking": lacking, "working": working})
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    page = tmp_path / "page.md"
    monkeypatch.setattr(benchmarks_main, "write_tables", lambda suites: results.write_tables(suites, [page]))
    places = "".join(
        f"<!-- python -m benchmarks {name} -->\nold\n<!-- end of {name} -->\n" for name in ("lacking", "working")
    )
    page.write_text(places)
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
    assert page.read_text() == places.replace("working -->\nold", "working -->\nnew")
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
    monkeypatch.setattr(interpreter_suite, "available", lambda machine: None)
    # Of two libraries that differ in the floating-point unit, one.
    assert [(each.arch, each.kernels) for each in chosen()] == [
        ("cortex-m4", "cmsis_nn"),
        ("cortex-m4+fp", "reference"),
    ]
    monkeypatch.setattr(interpreter_suite, "available", lambda machine: f"{machine.name} needs gcc: apt install gcc")
    with pytest.raises(BadConfiguration, match=r"Remedy: cortex_m4 needs gcc: apt install gcc\."):
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
