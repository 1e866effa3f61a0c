"""Files with several networks: which is taken is said, and another is taken by its name; TFLite Micro is the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.command_line.dispatch import main
from export.compiled_file.model_in_file import model_in_file
from export.engines import TFLM
from export.parity.reference import interpreted
from export.tflite.contents import read_contents
from export.tflite.entries import Entry, entries, taken
from qtorch.errors import BadConfiguration
from tests.schema_file import SchemaFile

pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro")

CODES = np.arange(-128, 128).astype(np.int8).reshape(-1, 1).repeat(4, 1)
#: Of each network, the scale by which it multiplies codes: 0.5, 0.25, and 0.125.
_SCALES = {"halve": 0.2, "quarter": 0.4, "eighth": 0.8}


def network(file: SchemaFile, name: str, scale: float) -> Any:
    """A subgraph of one QUANTIZE, which is added to the file, and its table."""
    file.graph = graph = schema.SubGraphT()
    graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = name, [], [], [], []
    x = file.tensor([1, 4], "int8", 0.1, 0, name=f"{name}_x", end="input")
    y = file.tensor([1, 4], "int8", scale, 0, name=f"{name}_y", end="output")
    file.operator("QUANTIZE", [x], [y])
    file.model.subgraphs.append(graph)
    return graph


def of_several(*, signed: bool = True) -> SchemaFile:
    file = SchemaFile()
    file.model.subgraphs = []
    for name, scale in _SCALES.items():
        network(file, f"main_{name}", scale)
    if signed:
        file.model.signatureDefs = []
        for index, name in enumerate(_SCALES):
            each = schema.SignatureDefT()
            each.signatureKey, each.subgraphIndex, each.inputs, each.outputs = name, index, [], []
            file.model.signatureDefs.append(each)
    return file


def with_while(file: SchemaFile) -> SchemaFile:
    """The first network of the file runs the others."""
    file.graph = file.model.subgraphs[0]
    x = file.graph.inputs[0]
    options = {"condSubgraphIndex": 1, "bodySubgraphIndex": 2}
    file.operator("WHILE", [x], [file.tensor([1, 4], "int8", 0.1, 0)], "WhileOptions", options)
    return file


@pytest.mark.parametrize("signed", [True, False])
def test_each_network_can_be_put_in_front(signed: bool) -> None:
    data = of_several(signed=signed).written()
    names = [*_SCALES] if signed else [f"main_{name}" for name in _SCALES]
    assert [each.name for each in entries(read_contents(data))] == names
    (first,) = TFLM.run(data, (CODES,))
    for position, (name, scale) in enumerate(zip(names, _SCALES.values(), strict=True)):
        for called in (name, str(position)):
            chosen = taken(data, called)
            assert chosen.entry == Entry(name, position)
            (got,) = TFLM.run(chosen.data, (CODES,))
            # Two roundings; the other networks are 16 codes off and more.
            assert np.abs(got - CODES * 0.1 / scale).max() < 1
            model = model_in_file(data, "m", called)
            (core,) = interpreted(model.graph, (CODES,), where="m").values()
            np.testing.assert_array_equal(core, got)
            assert ("ship what --tflite writes" in chosen.sentence) == (position > 0)
            assert all(repr(each) in chosen.sentence for each in names)
    assert taken(data).data is data
    np.testing.assert_array_equal(TFLM.run(taken(data).data, (CODES,))[0], first)


def test_networks_that_others_run_are_no_choice_and_keep_their_numbers() -> None:
    file = with_while(of_several(signed=False))
    data = file.written()
    assert [each.name for each in entries(read_contents(data))] == ["main_halve"]
    assert taken(data).sentence == ""
    network(file, "apart", 0.3)
    again = taken(file.written(), "apart").data
    contents = read_contents(again)
    assert [graph.name for graph in contents.subgraphs] == ["apart", "main_halve", "main_quarter", "main_eighth"]
    options = contents.subgraphs[1].operators[-1].options
    assert (options["CondSubgraphIndex"], options["BodySubgraphIndex"]) == (2, 3)


def test_an_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(BadConfiguration, match=r"'halve', 'quarter', 'eighth', got 'third'"):
        taken(of_several().written(), "third")


def test_the_commands_say_which_network_they_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(of_several().written())
    words = ["compile", str(path), "--out", str(tmp_path / "out"), "--tflite", "--samples", "100"]
    assert main(words) == 0
    assert "the network taken is 'halve'; the file also has 'quarter', 'eighth'" in capsys.readouterr().out
    assert main([*words, "--signature", "eighth"]) == 0
    assert "the network taken is 'eighth'" in capsys.readouterr().out
    (scale,) = {e["scale"] for e in json.loads((tmp_path / "out" / "metrics.json").read_text())["tensors"][1:]}
    assert scale == pytest.approx(0.8)
    (got,) = TFLM.run((tmp_path / "out" / "m.tflite").read_bytes(), (CODES,))
    np.testing.assert_array_equal(got, TFLM.run(taken(path.read_bytes(), "eighth").data, (CODES,))[0])
    assert main([*words, "--signature", "no"]) == 2
    assert "'halve', 'quarter', 'eighth'" in capsys.readouterr().err
    assert main(["summary", str(path)]) == 0
    said = capsys.readouterr().out
    assert "3 networks: TFLite Micro runs the first, 'halve'" in said
    assert main(["verify", str(path), "--signature", "quarter"]) == 0
    assert "the network taken is 'quarter'" in capsys.readouterr().out
    assert main(["profile", str(path), "--signature", "quarter", "--machine", "host", "--samples", "2"]) in (0, 2)


def test_a_network_of_floats_is_taken_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = SchemaFile()
    file.model.subgraphs = []
    rng = np.random.default_rng(0)
    for name, width in (("two", 2), ("three", 3)):
        file.graph = graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = name, [], [], [], []
        x = file.tensor([1, 4], "float32", name=f"{name}_x", end="input")
        matrix = file.constant(rng.normal(size=(width, 4)).astype(np.float32))
        y = file.tensor([1, width], "float32", name=f"{name}_y", end="output")
        file.operator("FULLY_CONNECTED", [x, matrix, -1], [y], "FullyConnectedOptions")
        file.model.subgraphs.append(graph)
    (tmp_path / "m.tflite").write_bytes(file.written())
    np.save(tmp_path / "x.npy", rng.normal(size=(40, 4)).astype(np.float32))
    words = ["compile", str(tmp_path / "m.tflite"), "--data", str(tmp_path / "x.npy"), "--out", str(tmp_path / "out")]
    assert main([*words, "--signature", "three"]) == 0, capsys.readouterr().err
    assert "the network taken is 'three'; the file also has 'two'" in capsys.readouterr().out
    assert "int8_t out[3]" in (tmp_path / "out" / "m_model.h").read_text()
