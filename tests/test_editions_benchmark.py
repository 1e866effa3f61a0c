"""Editions measured: what a runner leaves is judged rightly, and the tables say what went wrong, and in which."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.editions import command, packages, runner, tree
from benchmarks.editions.cases import Case, cut, of_model, samples, write_cases
from benchmarks.editions.drawn import drawn_cases, drawn_network
from benchmarks.editions.judged import Outcome, judged, tallied
from benchmarks.editions.table import edition_tables, kept
from benchmarks.environments import NotInstalled
from export.engines import TFLM
from export.graph.build import integer_graph
from qtorch import quantize
from qtorch.errors import BadConfiguration, ParityError

#: A program that stands for an edition: it does to a case what the case's label says.
_STAND_IN = """
import json, sys
from pathlib import Path
cases, out = map(Path, sys.argv[1:])
lines = []
for case in json.loads((cases / "judged.json").read_text()):
    name, label = case["name"], case["label"]
    codes = bytearray((cases / f"{name}.expected").read_bytes())
    if label == "wrong":
        codes[0] -= 3
    if label == "short":
        codes.pop()
    (out / f"{name}.out").write_bytes(codes)
    if label != "unsaid":
        ended = label if label in ("refused", "crashed") else "ran"
        lines.append(json.dumps({"name": name, "ended": ended, "why": "because" if ended != "ran" else ""}))
(out / "said.jsonl").write_text("\\n".join(lines))
"""


def case(label: str, form: str = "ADD int8") -> Case:
    codes = np.arange(-4, 4, dtype=np.int8).reshape(4, 2)
    return Case(label, form, label.encode(), (codes,), (codes, codes[:, :1].astype(np.int16)))


def test_every_way_to_end_is_told_apart(tmp_path: Path) -> None:
    labels = ("fine", "wrong", "refused", "crashed", "short", "unsaid")
    written = list(write_cases((("here", case(label)) for label in labels), tmp_path / "cases"))
    assert [each.label for _, each in written] == list(labels)
    (tmp_path / "edition.py").write_text(_STAND_IN)
    found = command.tried([sys.executable, str(tmp_path / "edition.py")], tmp_path / "cases", tmp_path / "out")
    (row,) = found["forms"].values()
    assert {end: row[end] for end in ("models", "exact", "other codes", "refused", "crashed")} == {
        "models": 6, "exact": 1, "other codes": 1, "refused": 1, "crashed": 3,
    }  # fmt: skip
    assert (row["wrong"], row["furthest"], row["example"], row["codes"]) == (1, 3, "wrong", 24)
    assert row["why"] == "refused: because"
    ended = {each.label: each for each in judged(tmp_path / "cases", tmp_path / "out")}
    assert ended["short"].why == "15 bytes of outputs instead of 16"


def test_models_alike_are_run_once(tmp_path: Path) -> None:
    assert len(list(write_cases([("a", case("same")), ("b", case("same"))], tmp_path))) == 1
    assert json.loads((tmp_path / "list.json").read_text()) == [["00000", 1, 2]]
    assert (tmp_path / "list.txt").read_text() == "00000\n"
    # Sample by sample: one of two int8 and one int16 here.
    assert (tmp_path / "00000.expected").read_bytes()[:6] == np.array([-4, -3, -4, -1, -2, -1], np.int8).tobytes()


def test_a_runner_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    list(write_cases([("here", case("fine"))], tmp_path / "cases"))
    broken = [sys.executable, "-c", "raise ImportError('built for another Python')"]
    found = command.tried(broken, tmp_path / "cases", tmp_path / "out")
    assert found == {"failed": "ImportError: built for another Python"}


def test_a_process_is_judged_by_how_it_ended() -> None:
    assert runner.verdict(0, "chatter") == ("ran", "")
    assert runner.verdict(runner._REFUSED << 8, "no kernel\n\nRuntimeError: x\n") == ("refused", "no kernel")
    assert runner.verdict(runner._REFUSED << 8, "") == ("refused", "")
    assert runner.verdict(11, "last words\n") == ("crashed", "SIGSEGV: last words")
    assert runner.verdict(7 << 8, "") == ("crashed", "exit code 7")


def test_tables_put_neighbours_alike_on_one_line() -> None:
    wrong = [Outcome("a", "ADD int8", "exact", codes=8), Outcome("b", "ADD int8", "other codes", 2, 8, 1_500)]
    tally = tallied([*wrong, Outcome("c", "SUB int8", "refused", why="no"), Outcome("d", "MUL int8", "exact")])
    assert set(kept(tally)) == {"ADD int8", "SUB int8"}
    editions = [
        {"name": "2023-10-10", "forms": kept(tally)},
        {"name": "2024-01-01", "forms": kept(tally)},
        {"name": "2024-02-02", "failed": "no network"},
        {"name": "2025-01-01", "forms": {}},
    ]
    found = {"models": {"ADD int8": 2, "SUB int8": 1, "MUL int8": 1}, "sources": {"rows": 4}, "editions": editions}
    page = edition_tables({**found, "trees": []})
    assert "| 2023-10-10 to 2024-01-01 | 2 of 4 | 1 | 1 |  |" in page
    assert "| 2024-02-02 | not measured: no network |  |  |  |" in page
    assert "| 2025-01-01 | 4 of 4 |  |  |  |" in page
    assert "| ADD int8 | 1 of 2 other, up to 1,500 |  |" in page
    assert "| SUB int8 | refused |  |" in page
    assert not any("MUL" in line for line in page)
    with_tree = edition_tables({**found, "trees": [{"name": "A port", "kernels": "esp_nn", "forms": kept(tally)}]})
    assert "| A port | ESP-NN, portable C | 2 of 4 | 1 | 1 |  |" in with_tree


def test_a_package_that_differs_in_version_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(arguments: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 0 if len(asked) > 1 else 1, "", "ERROR: no such version")

    monkeypatch.setattr(packages.subprocess, "run", pip)
    with pytest.raises(NotInstalled, match=r"tflite-micro==0\.dev2023 could not be installed: ERROR: no such version"):
        packages.installed("2023", tmp_path)
    assert not any(tmp_path.iterdir())
    assert packages.installed("2023", tmp_path) == packages.installed("2023", tmp_path) == tmp_path / "2023"
    assert len(asked) == 2


def test_the_installed_package_has_to_be_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "pinned", lambda: ("2026", tmp_path))
    monkeypatch.setattr(packages, "numpy_1", lambda folder: folder)
    monkeypatch.setattr(packages, "installed", lambda version, folder: folder / version)
    wrong = {"forms": kept(tallied([Outcome("b", "ADD int8", "other codes", 2, 8, 1)]))}
    monkeypatch.setattr(command, "tried", lambda command, *_: {"forms": {}} if "2023" in command[-1] else wrong)
    with pytest.raises(ParityError, match=r"0\.dev2026, which is installed here: expected every code, ADD int8"):
        command._of_packages(tmp_path, tmp_path, ["2023"])
    monkeypatch.setattr(command, "tried", lambda command, *_: wrong if "2023" in command[-1] else {"forms": {}})
    older, here = command._of_packages(tmp_path, tmp_path, ["2023", "2026"])
    assert (older["version"], here["version"]) == ("0.dev2023", "0.dev2026")
    assert older["forms"]
    assert not here["forms"]


@pytest.mark.tflm
def test_the_installed_package_computes_the_cases(tmp_path: Path) -> None:
    """And a weight that is another gives other codes, a file that is none is refused, with no end to the rest."""
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    graph = integer_graph(quantize(torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Softmax(-1)), x))
    codes = tuple(graph.values[name].quantize(x.numpy()) for name in graph.inputs)
    right = list(cut("network", graph, codes))
    assert [each.form for each in right] == ["FULLY_CONNECTED int8 per channel", "SOFTMAX int8"]
    changed = replace(right[0], label="changed", expected=(right[0].expected[0] + 1,), inputs=(right[0].inputs[0][:7],))
    torn = replace(right[1], label="torn", model=right[1].model[: len(right[1].model) // 2])
    every = [*right, replace(changed, expected=(changed.expected[0][:7],)), torn, *islice(samples(), 0, None, 60)]
    count = len(list(write_cases((("here", each) for each in every), tmp_path / "cases")))
    _, beside = packages.pinned()
    command_line = [sys.executable, "-s", runner.__file__, str(beside)]
    command.tried(command_line, tmp_path / "cases", tmp_path / "out")
    outcomes = judged(tmp_path / "cases", tmp_path / "out")
    assert len(outcomes) == count > 10
    others = {each.label: each.ended for each in outcomes if each.ended != "exact"}
    assert others.pop("changed") == "other codes"
    assert others.pop("torn") in ("refused", "crashed")
    assert not others


def test_drawn_networks_are_cut_into_ops_that_run_alone() -> None:
    net, x = drawn_network(3)
    assert torch.equal(drawn_network(3)[0](x), net(x))
    drawn = list(drawn_cases(2))
    assert len(drawn) > 4
    for each in drawn:
        (alone, *_) = of_model(each.label, each.model, each.inputs)
        assert all(np.array_equal(a, b) for a, b in zip(alone.expected, each.expected, strict=True))
    if not TFLM.absent():
        for each in drawn:
            got = TFLM.run(each.model, each.inputs)
            assert all(np.array_equal(a, b) for a, b in zip(got, each.expected, strict=True)), each.label


def test_a_resolver_says_which_operators_it_can_register() -> None:
    header = """
    TfLiteStatus AddCustom(const char* name, const TFLMRegistration* registration) { }
    TfLiteStatus AddAbs(const TFLMRegistration& r = Register_ABS()) { return AddBuiltin(BuiltinOperator_ABS, r); }
    TfLiteStatus AddDelay() { return AddCustom("SignalDelay", tflite::tflm_signal::Register_DELAY()); }
    TfLiteStatus AddMul(
        const TFLMRegistration& r = Register_MUL()) { return AddBuiltin(BuiltinOperator_MUL, r); }
    TfLiteStatus AddBuiltin(int op, const TFLMRegistration& registration) { }
    """
    assert tree.registrations(header) == ["AddAbs", "AddMul"]


def test_a_trees_own_library_takes_the_place_of_kernels(tmp_path: Path) -> None:
    kernels = tmp_path / "src/tensorflow/lite/micro/kernels"
    for name in ("conv.cpp", "add.cpp", "add_test.cpp", "cmsis_nn/conv.cpp"):
        (kernels / name).parent.mkdir(parents=True, exist_ok=True)
        (kernels / name).touch()
    with pytest.raises(BadConfiguration, match="expected a source tree of TFLite Micro"):
        tree.Tree("port", tmp_path).sources()
    (kernels.parent / "micro_interpreter.h").touch()
    assert tree.Tree("port", tmp_path).sources() == [kernels / "add.cpp", kernels / "conv.cpp"]
    with pytest.raises(BadConfiguration, match="expected the sources of cmsis_nn"):
        tree.Tree("port", tmp_path, "cmsis_nn").sources()
    library = tmp_path / "src/third_party/cmsis_nn/Source"
    library.mkdir(parents=True)
    (library / "arm.c").touch()
    found = tree.Tree("port", tmp_path, "cmsis_nn").sources()
    assert found == [kernels / "add.cpp", kernels / "cmsis_nn/conv.cpp", library / "arm.c"]


@pytest.mark.parametrize(
    ("header", "says", "flags"),
    [
        ('#include "Arduino.h"', "DebugLog(const char* s)", ("-DARDUINO",)),
        ('#include "pico/stdlib.h"', "DebugLog(const char* format, va_list args)", ("-DARDUINO",)),
        ("#include <limits>", "", ()),
    ],
)
def test_a_port_says_and_times_on_a_pc_without_its_boards_headers(
    tmp_path: Path, header: str, says: str, flags: tuple[str, ...]
) -> None:
    micro = tmp_path / "src/tensorflow/lite/micro"
    (micro / "kernels").mkdir(parents=True)
    for name in ("micro_interpreter.h", "micro_time.cpp", "kernels/add.cpp"):
        (micro / name).write_text("")
    (micro / "system_setup.cpp").write_text(header)
    (micro / "debug_log.h").write_text(says)
    port = tree.Tree("port", tmp_path)
    assert port.flags() == flags
    assert says in port.platform()
    assert bool(port.platform()) is bool(says)
    kept = {file.stem for file in port.sources()}
    assert kept == ({"add"} if says else {"add", "micro_time", "system_setup"})


def test_of_a_librarys_sources_those_of_vectors_alone_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "tensorflow/lite/micro/kernels/esp_nn").mkdir(parents=True)
    (tmp_path / "tensorflow/lite/micro/micro_interpreter.h").write_text("")
    library = tmp_path / "third_party/esp_nn"
    library.mkdir(parents=True)
    for name in ("conv_opt", "conv_esp32s3", "depthwise_esp32p4", "add_s32"):
        (library / f"{name}.c").write_text("")
    found = {file.stem for file in tree.Tree("port", tmp_path, "esp_nn").sources()}
    assert found == {"conv_opt", "add_s32"}


@pytest.mark.skipif(not os.environ.get("TFLM_ROOT") or not shutil.which("g++"), reason="TFLM_ROOT or g++ is absent")
def test_a_tree_is_built_and_computes_the_rows_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "FOLDER", tmp_path)
    program = tree.built(tree.Tree("tree", Path(os.environ["TFLM_ROOT"])))
    list(write_cases((("here", each) for each in samples()), tmp_path / "cases"))
    found = command.tried([str(program)], tmp_path / "cases", tmp_path / "out")
    # Older ones compute some otherwise; none of them computes nothing.
    assert len(found["forms"]) < 40
