"""The engines, found by themselves: one that is added is run, judges or is reported, with nothing else edited."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import export.engines
import qtorch
from export.__main__ import main as export_main
from export.bundle.float_formats import float_files
from export.engines import ENGINES, LITERT_DEFAULT, LITERT_REFERENCE, TFLM, Engine
from export.figures.device_network import DeviceNetwork
from export.figures.stage_names import stage_name
from export.figures.subject import subject_of_networks
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.passes.float_interface import float_interface
from export.parity.judges import all_engines, exact_judge, judge_here, may_judge, reported_here
from export.parity.outputs import corner_codes, parity
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration, ParityError
from qtorch.numbers.fixedpoint import Rounding

ABSENT = "it is on another machine; bring it here"

MADE_UP = """
from dataclasses import replace

from export.engines.litert import LITERT_DEFAULT

ENGINES = (replace(LITERT_DEFAULT, name="made_up", version_of=lambda: "0.1"),)
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(1, 3))
    qtorch.calibrate(qat, [torch.rand(50, 3)])
    return integer_graph(qat)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder of engines that can be imported as ``engines_copy``."""
    copy = tmp_path / "engines_copy"
    shutil.copytree(Path(export.engines.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield copy
    for name in [name for name in sys.modules if name.split(".")[0] == copy.name]:
        del sys.modules[name]


def imported(folder: Path) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(folder.name)


def absent(*engines: Engine) -> dict[str, Engine]:
    return {each.name: replace(each, absent=lambda: ABSENT) for each in engines}


def exactly(graph: Graph, name: str, preference: int, wrong: int = 0) -> Engine:
    """An engine that computes the reference itself, beside what LiteRT shows of its inside."""

    def run(model: bytes, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        computed = interpret(graph, inputs)
        return tuple(computed[each] + computed[each].dtype.type(wrong) for each in graph.outputs)

    changed: dict[str, Any] = {"name": name, "run": run, "rounding": Rounding.DOUBLE, "preference": preference}
    return replace(LITERT_REFERENCE, **changed, reported=False, called="")


def test_a_new_file_is_run_and_reported(
    folder: Path, graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "made_up.py").write_text(MADE_UP)
    there = imported(folder).ENGINES
    assert list(there) == ["litert_reference", "litert_default", "made_up", "tensorflow", "tflm"]
    monkeypatch.setitem(ENGINES, "made_up", there["made_up"])
    model = write_tflite(graph)
    written = parity(graph, model, corner_codes(graph, 50)).as_json()
    assert written["engines"]["made_up"] == {**written["engines"]["litert_default"], "version": "0.1"}
    (tmp_path / "m.tflite").write_bytes(model)
    assert export_main(["verify", str(tmp_path / "m.tflite")]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["made_up"]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MADE_UP.replace("made_up", "tflm"), r"tflm.py: .*got 'tflm', which export/engines/made_up.py has"),
        (MADE_UP.replace("ENGINES", "ENGINE"), "made_up.py: expected ENGINES, a tuple of Engine, got None"),
        ("ENGINES = ()", "made_up.py: expected ENGINES"),
        ("ENGINES = ('tflm',)", "made_up.py: expected ENGINES"),
    ],
    ids=["a name twice", "no engines", "none of them", "something else"],
)
def test_a_file_that_states_no_engine_of_its_own_is_refused(folder: Path, text: str, said: str) -> None:
    (folder / "made_up.py").write_text(text)
    with pytest.raises(ImportError, match=said):
        imported(folder)


def test_engines_as_they_are() -> None:
    assert [each.name for each in all_engines()] == ["tflm", "litert_reference", "litert_default", "tensorflow"]
    assert may_judge() == (TFLM, LITERT_REFERENCE)
    assert reported_here() == (LITERT_REFERENCE, LITERT_DEFAULT)


def test_what_is_absent_is_neither_judge_nor_reported(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, engine in absent(TFLM, LITERT_DEFAULT).items():
        monkeypatch.setitem(ENGINES, name, engine)
    assert judge_here() is LITERT_REFERENCE
    assert exact_judge() is None
    assert reported_here() == (LITERT_REFERENCE,)
    report = parity(graph, write_tflite(graph), corner_codes(graph, 50))
    assert report.judges == ("litert_reference against single rounding",)
    assert set(report.engines) == {*report.judges, "litert_reference"}
    monkeypatch.setitem(ENGINES, "litert_reference", absent(LITERT_REFERENCE)["litert_reference"])
    assert DeviceNetwork(graph, b"").engine is None
    with pytest.raises(BadConfiguration, match=f"expected one that judges: tflm, litert_reference, .*{ABSENT}"):
        parity(graph, write_tflite(graph), corner_codes(graph, 50))


def test_a_new_judge_takes_the_place_of_an_absent_one(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    model, codes = write_tflite(graph), corner_codes(graph, 50)
    monkeypatch.setitem(ENGINES, "mine", exactly(graph, "mine", 2, wrong=1))
    monkeypatch.setitem(ENGINES, "litert_reference", replace(LITERT_REFERENCE, preference=3))
    for name, engine in absent(TFLM).items():
        monkeypatch.setitem(ENGINES, name, engine)
    with pytest.raises(ParityError, match=r"mine .* differs from the integer reference"):
        parity(graph, model, codes)
    monkeypatch.setitem(ENGINES, "mine", right := exactly(graph, "mine", 2))
    assert parity(graph, model, codes).judges == ("mine",)
    assert DeviceNetwork(graph, model).engine is right
    assert [stage_name(stage) for stage in ("qat_int8", "float32")] == ["int8, QAT (mine)", "float32 model (mine)"]


@pytest.mark.parametrize("ends", ["int8", "float32"])
def test_verify_asks_a_new_judge(
    ends: str, graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    final = float_interface(graph) if ends == "float32" else graph
    (tmp_path / "m.tflite").write_bytes(write_tflite(final))
    monkeypatch.setitem(ENGINES, "mine", exactly(final, "mine", 0))
    assert export_main(["verify", str(tmp_path / "m.tflite")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mine")]
    assert line.endswith("must agree" if ends == "int8" else ": 10,008 float32 inputs, all exact")
    monkeypatch.setitem(ENGINES, "mine", exactly(final, "mine", 0, wrong=1))
    assert export_main(["verify", str(tmp_path / "m.tflite")]) == 1
    assert "mine" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_float_formats_are_judged_by_who_has_the_kernels(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, engine in absent(TFLM).items():
        monkeypatch.setitem(ENGINES, name, engine)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    subject = subject_of_networks("m", None, net, torch.zeros(1, 3))
    monkeypatch.setitem(ENGINES, "mine", replace(LITERT_REFERENCE, name="mine", preference=4))
    assert list(float_files(subject, "m", kind, "nhwc").parity["judges"]) == ["mine", "litert_reference"]

    def refuse(model: bytes, inputs: object) -> Any:
        raise RuntimeError("no kernel for it\nand more")

    plain = replace(LITERT_REFERENCE, name="mine", preference=0, narrow_weights=False)
    monkeypatch.setitem(ENGINES, "mine", plain if kind == "float32" else replace(plain, run=refuse, tensors=refuse))
    found = float_files(subject, "m", kind, "nhwc").parity
    assert list(found["judges"]) == ["litert_reference", *(["mine"] if kind == "float32" else [])]
    assert found["mine_cannot_run_it"] == ("" if kind == "float32" else "no kernel for it")
    assert found["tflm_cannot_run_it"] == ""
