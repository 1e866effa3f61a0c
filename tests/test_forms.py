"""Forms of export: found in their folder; a made-up one is tried, written, proven and told of by all of an export."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from pytorch_lightning import Trainer

from export import forms
from export.__main__ import main
from export.bundle.bundle import Bundle
from export.bundle.make import make_bundle
from export.bundle.outcome_page import outcome_page
from export.console.page import Line
from export.forms import FORMS
from export.forms.form import Choices, Form, FormFiles
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.options import ExportOptions
from export.parity.outputs import EngineParity
from qtorch.errors import BadConfiguration, ParityError, UnsupportedLayer
from tests.conftest import run_fuel
from tests.test_own_loop import whole_subject


@dataclass(frozen=True)
class Options(ExportOptions):
    """Those of an export that knows one form more.

    Attributes:
        nodes: also write how many nodes there are.
    """

    nodes: bool = False


def no_demands(options: Choices) -> None:
    if options.io != "int8":
        raise BadConfiguration(where="export.nodes", expected="io int8", got=options.io, remedy="leave one out")


def nothing(name: str, graph: Graph) -> None:
    pass


def count(name: str, graph: Graph, codes: tuple[np.ndarray, ...]) -> FormFiles:
    """``<name>.txt``, read back."""
    file = written(graph)
    if int(file) != len(graph.nodes):
        raise ParityError(f"{name}.txt: expected {len(graph.nodes)} nodes, got {file.decode()}")
    outputs = interpret(graph, codes)
    own = tuple(outputs[name] for name in graph.outputs)
    counted = EngineParity.of("1.0", own, own)
    return FormFiles({f"{name}.txt": file}, {"counter": counted}, {"nodes": int(file)}, f"{int(file)} nodes counted")


def written(graph: Graph) -> bytes:
    return str(len(graph.nodes)).encode()


NODES = Form("nodes", no_demands, nothing, count)
Known = Callable[[Form], None]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Known:
    """A function that puts a form into the registry, and its option where options are read."""
    for module in ("export.pipeline.run", "export.pipeline.training", "export.commands.export"):
        monkeypatch.setattr(f"{module}.ExportOptions", Options)
    return lambda form: monkeypatch.setitem(FORMS, form.option, form)


def lines(bundle: Bundle) -> list[str]:
    return [block.text for block in outcome_page(bundle) if isinstance(block, Line)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_has_its_option(form: Form) -> None:
    (field,) = (each for each in fields(ExportOptions) if each.name == form.option)
    assert (field.type, field.default) == ("bool", False)
    assert f"        {form.option}: also write " in (ExportOptions.__doc__ or "")


def test_what_is_asked_for_is_in_the_bundle(known: Known) -> None:
    known(NODES)
    subject = whole_subject()
    bundle = make_bundle(subject, "own", Options(nodes=True))
    nodes = int(bundle.files["own.txt"])
    assert nodes >= 2
    assert json.loads(bundle.files["metrics.json"])["nodes"] == {"nodes": nodes}
    parity = json.loads(bundle.files["parity.json"])
    assert parity["engines"]["counter"]["mismatches"] == 0
    assert "counter" not in parity["judges"]
    assert f"{nodes} nodes counted" in lines(bundle)
    without = make_bundle(subject, "own", Options())
    assert set(bundle.files) - set(without.files) == {"own.txt"}
    assert "nodes" not in without.metrics
    assert f"{nodes} nodes counted" not in lines(without)


def test_a_proof_that_fails_stops_the_export(
    known: Known, monkeypatch: pytest.MonkeyPatch, fuel_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    known(NODES)
    words = [str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "out"), "--export.nodes"]
    monkeypatch.setattr(f"{__name__}.written", lambda graph: b"0")
    assert main(words) == 1
    assert "fuel.txt: expected 4 nodes, got 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_written_is_refused_before_training(
    known: Known, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def refuse(name: str, graph: Graph) -> None:
        raise UnsupportedLayer(where=name, expected="no nodes", got=f"{len(graph.nodes)}", remedy="count by hand")

    def trained(*_: object, **__: object) -> None:
        pytest.fail("trained before the refusal")

    known(replace(NODES, try_out=refuse))
    monkeypatch.setattr(Trainer, "fit", trained)
    assert run_fuel("--out", tmp_path / "out", "--export.nodes", "true") == 2
    assert "fuel: expected no nodes, got 4. Remedy: count by hand" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_options_that_contradict_it_are_refused(known: Known) -> None:
    known(NODES)
    with pytest.raises(BadConfiguration, match=r"export\.nodes: expected io int8, got float32"):
        Options(nodes=True, io="float32")
    with pytest.raises(BadConfiguration, match=r"export\.nodes: expected format int8.* got format float16"):
        Options(nodes=True, format="float16")
    assert Options(nodes=True).forms == (NODES,)
    assert Options(format="float16", io="float32").forms == ()


@pytest.mark.parametrize("right", [True, False])
def test_a_folder_is_found_by_itself(right: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "counted"
    folder.mkdir()
    (folder / "__init__.py").touch()
    option = "counted" if right else "other"
    text = f"import dataclasses, tests.test_forms as t\nFORM = dataclasses.replace(t.NODES, option={option!r})\n"
    (folder / "form.py").write_text(text)
    for module in ("export.forms.counted", "export.forms.counted.form"):
        # What is imported here is forgotten with its folder.
        monkeypatch.setitem(sys.modules, module, sys)
        del sys.modules[module]
    monkeypatch.setattr(forms, "__path__", [str(tmp_path)])
    if right:
        assert forms._discover() == {"counted": replace(NODES, option="counted")}
        return
    with pytest.raises(
        ImportError, match=r"export/forms/counted/form\.py: expected FORM, a Form whose option is 'counted'"
    ):
        forms._discover()
