"""Where TFLite Micro's Python package is absent: a run goes through, and names who judged and what was not measured."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import qtorch
from export.__main__ import main as export_main
from export.engines import ENGINES, LITERT_DEFAULT, LITERT_REFERENCE, tflm_absent, tflm_available
from export.figures.stage_names import stage_name
from export.graph.build import integer_graph
from export.parity.outputs import EngineParity, NotRun, corner_codes, parity
from export.pipeline import main
from export.tflite.writer import write_tflite
from recipes.sine_qat.data import SineData
from recipes.sine_qat.model import Sine

CONFIG = Path(__file__).parents[1] / "recipes" / "sine_qat" / "config.yaml"
QUICK = ("--trainer.max_epochs=2", "--trainer.limit_train_batches=3", "--trainer.enable_progress_bar=false")
JUDGE = "litert_reference against single rounding"


@pytest.fixture(autouse=True)
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an import of the package finds where pip has not installed it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tflite_micro"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tflite_micro", None)


def trained(out: Path, *options: str) -> int:
    return main(Sine, SineData, CONFIG, [*QUICK, f"--out={out}", *options])


def test_it_is_absent_whatever_the_platform() -> None:
    assert not tflm_available()
    assert "TFLite Micro" in tflm_absent()


@pytest.mark.filterwarnings("ignore:.*LightningCLI's args parameter.*:UserWarning")
def test_a_run_names_what_really_ran(tmp_path: Path, capsys: Any) -> None:
    assert trained(tmp_path) == 0
    said = capsys.readouterr().out
    assert "(TFLM)" not in said + (tmp_path / "report.html").read_text()
    assert "int8, QAT (reference)" in said
    assert "arena not measured: TFLite Micro" in said
    assert "arena_bytes" not in json.loads((tmp_path / "metrics.json").read_text())
    found = json.loads((tmp_path / "parity.json").read_text())
    assert found["judges"] == [JUDGE, "qat_network"]
    assert set(found["judges"]) < set(found["engines"])
    assert found["engines"][JUDGE]["inputs"] == 256

    assert export_main(["verify", str(tmp_path / "sine.tflite")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [*JUDGE.split(), "256", "100.00%", "0", "must", "agree"] in rows
    model = tmp_path / "sine.tflite"
    assert export_main(["verify", str(model), "--against", str(tmp_path / "sine.ckpt")]) == 0


@pytest.mark.filterwarnings("ignore:.*LightningCLI's args parameter.*:UserWarning")
@pytest.mark.parametrize("options", [["--export.io=float32"], ["--qat.activations=int16"]])
def test_other_interfaces_are_judged_too(options: list[str], tmp_path: Path, capsys: Any) -> None:
    assert trained(tmp_path, *options) == 0
    assert export_main(["verify", str(tmp_path / "sine.tflite")]) == 0
    assert "litert_reference" in capsys.readouterr().out.split("written to")[-1]


@pytest.mark.filterwarnings("ignore:.*LightningCLI's args parameter.*:UserWarning")
def test_a_project_that_needs_the_arena_is_refused_before_training(tmp_path: Path, capsys: Any) -> None:
    assert trained(tmp_path / "out", f"--export.firmware={tmp_path / 'firmware'}") == 2
    assert "pip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_judge_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.zeros(1, 3))
    qtorch.calibrate(qat, [torch.rand(50, 3)])
    graph = integer_graph(qat)
    model, codes = write_tflite(graph), corner_codes(graph, 100)
    assert parity(graph, model, codes).judges == (JUDGE,)
    monkeypatch.setitem(ENGINES, "litert_reference", replace(LITERT_REFERENCE, run=_off))
    with pytest.raises(qtorch.errors.ParityError, match="differs from the integer reference"):
        parity(graph, model, codes)


def _off(model: bytes, inputs: Any) -> Any:
    """LiteRT, the last bit of every output turned."""
    return tuple(array ^ 1 for array in LITERT_DEFAULT.run(model, inputs))


class _Absent:
    """An engine that has no kernel for anything."""

    name, version = "absent", "1"

    def run(self, model: bytes, inputs: Any) -> Any:
        raise RuntimeError("no kernel for it\nand more")


def test_an_engine_that_never_ran_has_no_figures() -> None:
    torch.manual_seed(0)
    qat = qtorch.prepare(nn.Sequential(nn.Linear(3, 4)), torch.zeros(1, 3))
    qtorch.calibrate(qat, [torch.rand(50, 3)])
    graph = integer_graph(qat)
    report = parity(graph, write_tflite(graph), corner_codes(graph, 10), reported=(_Absent(), LITERT_DEFAULT))
    assert "absent" not in report.engines
    assert report.not_run == {"absent": NotRun("1", "no kernel for it")}
    written = report.as_json()
    assert written["not_run"] == {"absent": {"version": "1", "error": "no kernel for it"}}
    assert set(written["engines"]) == {JUDGE, LITERT_DEFAULT.name}
    assert EngineParity("1", 10, 20, 5, 1).exact_share == 0.75


def test_names_of_stages() -> None:
    assert stage_name("qat_int8") == "int8, QAT (reference)"
    assert stage_name("float32") == "float32 model (LiteRT)"
    assert stage_name("float16") == "float16 weights (LiteRT)"
    assert stage_name("mine") == "mine"
