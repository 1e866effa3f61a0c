"""Names and metadata in the file: what they say, that they change nothing that is computed, and their C header."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

import qtorch
from export.__main__ import main as export_main
from export.commands.profile import named
from export.device.headers import model_data
from export.device.metadata_header import metadata_header
from export.engines import TFLM
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.graph.names import speaking_names
from export.options import ExportOptions
from export.parity.outputs import corner_codes, parity
from export.tflite.arena import smallest_arena
from export.tflite.metadata import NAME, ModelMetadata, class_names, weights_hash
from export.tflite.model_file import model_file, model_metadata
from export.tflite.reader import read_tflite
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration
from qtorch.features import Feature, Interface

INTERFACE = Interface(
    (Feature('engine "size" \\ ??/', "L", -1.5, 7.25), Feature("Temperatur in °C", "", 1e-9, 3e20)),
    (Feature("punch probability"), Feature("höher\nprobability", "%")),
)


def about(graph: Graph) -> ModelMetadata:
    return model_metadata("Net 1", '1.2 "beta"', graph, INTERFACE, True)


def test_class_names() -> None:
    assert class_names(["logit of 0", "logit of 1"]) == ("0", "1")
    assert class_names(["punch probability", "flex probability"]) == ("punch", "flex")
    assert class_names(["a", "a b"]) == ("a", "a b")
    assert class_names(["same", "same"]) == ("same", "same")
    assert class_names([]) == ()


@pytest.mark.tflm
def test_the_file_says_what_it_is_and_computes_the_same(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    found = model_file(graph, metadata=about(graph))
    (entry,) = summarize(found.data).metadata
    assert entry.name == NAME
    assert entry.content["name"] == "net_1"
    assert entry.content["version"] == '1.2 "beta"'
    assert entry.content["classes"] == ["punch", "höher"]
    assert entry.content["inputs"][0] == {"name": 'engine "size" \\ ??/', "unit": "L", "offset": -1.5, "span": 7.25}
    assert entry.content["weights_sha256"] == weights_hash(graph)
    assert entry.content["arena_bytes"] == found.arena_bytes == smallest_arena(found.data)
    assert model_file(graph, metadata=about(graph)) == found
    report = parity(graph, found.data, corner_codes(graph, 500), network)
    assert "tflm" in report.judges
    plain = write_tflite(graph)
    codes = corner_codes(graph, 500)
    np.testing.assert_array_equal(TFLM.run(found.data, codes)[0], TFLM.run(plain, codes)[0])
    assert len(plain) < len(found.data) < len(found.named)


def test_the_hash_is_that_of_the_weights(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    assert weights_hash(graph) == weights_hash(read_tflite(write_tflite(graph, names=True)))
    for name, value in graph.constants().items():
        flipped = value.contents.copy()
        flipped.flat[-1] ^= 1
        other = replace(graph, values={**graph.values, name: replace(value, data=flipped)})
        assert weights_hash(other) != weights_hash(graph)


def convolutional() -> Graph:
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("features", nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
    net.add_module("flat", nn.Flatten())
    net.add_module("classifier", nn.Linear(16, 3))
    x = torch.rand(20, 1, 4, 4)
    qat = qtorch.prepare(net.eval(), x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


def test_names_speak() -> None:
    graph = convolutional()
    model = write_tflite(graph, names=True)
    names = [tensor.name for tensor in summarize(model).subgraphs[0].tensors]
    assert names[0] == "input_1"
    assert {"features.0.weight", "features.0.bias", "features.0.conv_2d", "features.2.max_pool_2d"} <= set(names)
    assert {"classifier.weight", "classifier.bias", "classifier"} <= set(names)
    assert len(set(names)) == len(names)
    assert [node.output for node in named(read_tflite(model), model).nodes] == [
        "features.0.conv_2d", "features.2.max_pool_2d", "classifier",
    ]  # fmt: skip
    stripped = write_tflite(graph)
    assert {tensor.name for tensor in summarize(stripped).subgraphs[0].tensors} == {""}
    assert named(read_tflite(stripped), stripped).nodes[0].output == "t3"


def test_names_stay_apart(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    renamed = {name: f"{name}.channels_last" for name in graph.values}
    first, second, *_ = graph.values
    renamed[first], renamed[second] = "x", "x.channels_last"
    values = {renamed[name]: value for name, value in graph.values.items()}
    nodes = tuple(
        replace(n, inputs=tuple(renamed[i] for i in n.inputs), outputs=tuple(renamed[o] for o in n.outputs))
        for n in graph.nodes
    )
    ends = (tuple(renamed[i] for i in side) for side in (graph.inputs, graph.outputs))
    found = speaking_names(Graph(values, nodes, *ends))
    assert len(set(found.values())) == len(found)
    assert (found["x"], found["x.channels_last"]) == ("x", "x.channels_last")


@pytest.mark.tflm
def test_the_file_with_names_is_the_same_model() -> None:
    graph = convolutional()
    file = model_file(graph)
    assert len(file.named) - len(file.data) > 100
    codes = corner_codes(graph, 300)
    expected = interpret(graph, codes)[graph.outputs[0]]
    for data in (file.data, file.named):
        assert parity(graph, data, codes).engines["tflm"].mismatches == 0
        np.testing.assert_array_equal(TFLM.run(data, codes)[0], expected)


PROGRAM = """
#include <stdio.h>
#include "m_metadata.h"
#include "m_model_data.h"
int main(void) {
  fwrite(m_model_data + M_METADATA_OFFSET, 1, M_METADATA_SIZE, stdout);
  printf("\\n%s\\n%s\\n%s\\n%u\\n", M_METADATA_NAME, M_VERSION, M_WEIGHTS_SHA256, M_METADATA_ARENA_BYTES);
  for (int i = 0; i < M_CLASS_COUNT; ++i) printf("%s\\n", m_class_name(i));
  for (int i = 0; i < M_INPUT_FEATURE_COUNT; ++i)
    printf("%s|%.17g|%.17g\\n", m_input_feature_name(i), m_input_feature_offset(i), m_input_feature_span(i));
  printf("%s|%d\\n", m_output_feature_name(0), (int)m_output_feature_span(1) + (int)m_output_feature_offset(0));
  return 0;
}
"""


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "-std=c99"), ("clang", "-std=c99"), ("g++", "-std=c++17")])
def test_the_header_says_the_same_in_c(network: fx.GraphModule, tmp_path: Path, compiler: str, standard: str) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} not found: apt-get install {'clang' if compiler == 'clang' else 'g++'}")
    graph = integer_graph(network)
    metadata, arena_bytes = about(graph), 1234
    model = write_tflite(graph, names=True, metadata={NAME: metadata.json(arena_bytes)})
    for file, text in model_data("m", model).items():
        (tmp_path / file.replace(".cc", ".c" if "c99" in standard else ".cc")).write_text(text)
    (tmp_path / "m_metadata.h").write_text(metadata_header("m", metadata, arena_bytes, model))
    suffix = "c" if "c99" in standard else "cc"
    (tmp_path / f"main.{suffix}").write_text(PROGRAM)
    flags = [standard, "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command = [compiler, *flags, f"main.{suffix}", f"m_model_data.{suffix}", "-o", "main"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    said = subprocess.run([str(tmp_path / "main")], capture_output=True, check=True).stdout.decode().splitlines()
    assert json.loads(said[0]) == metadata.fields(arena_bytes)
    assert said[1:5] == [NAME, '1.2 "beta"', weights_hash(graph), "1234"]
    assert said[5:7] == ["punch", "höher"]
    assert said[7:9] == ['engine "size" \\ ??/ [L]|-1.5|7.25', "Temperatur in °C|1.0000000000000001e-09|3e+20"]
    assert said[9] == "punch probability|1"


def test_a_header_of_another_file_is_refused(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    with pytest.raises(ValueError, match="not found"):
        metadata_header("m", about(graph), 1, write_tflite(graph))


@pytest.mark.tflm
@pytest.mark.parametrize("io", ["int8", "float32"])
def test_an_export_with_metadata(fuel_out: Path, tmp_path: Path, io: str) -> None:
    options = ["--export.metadata", "--export.version", "3.1", "--export.io", io]
    for folder in ("a", "b"):
        command = [str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / folder), *options]
        assert export_main(command) == 0
    for file in ("fuel.tflite", "fuel_metadata.h", "quantization_report.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    (entry,) = summarize((tmp_path / "a" / "fuel.tflite").read_bytes()).metadata
    assert (entry.content["version"], entry.content["name"]) == ("3.1", "fuel")
    assert [feature["unit"] for feature in entry.content["inputs"]] == ["L", "", "g/km"]
    assert f"FUEL_ARENA_BYTES {entry.content['arena_bytes']}" in (tmp_path / "a" / "fuel_arena.h").read_text()
    assert '"3.1"' in (tmp_path / "a" / "fuel_metadata.h").read_text()
    verify = ["verify", str(tmp_path / "a" / "fuel.tflite"), "--against", str(fuel_out / "fuel.ckpt")]
    assert export_main(verify) == 0


@pytest.mark.tflm
def test_names_have_a_file_of_their_own(fuel_out: Path, tmp_path: Path) -> None:
    assert export_main([str(fuel_out / "fuel.ckpt"), "--out", str(tmp_path / "o"), "--export.strip"]) == 0
    assert not (tmp_path / "o" / "fuel_named.tflite").exists()
    model = (fuel_out / "fuel.tflite").read_bytes()
    assert (tmp_path / "o" / "fuel.tflite").read_bytes() == model
    named = summarize((fuel_out / "fuel_named.tflite").read_bytes()).subgraphs[0].tensors
    assert "0.weight" in {tensor.name for tensor in named}
    assert {tensor.name for tensor in summarize(model).subgraphs[0].tensors} == {""}
    assert not (fuel_out / "fuel_metadata.h").exists()


@pytest.mark.parametrize(
    "options", [{"format": "float32", "metadata": True}, {"format": "float16", "strip": True}, {"version": "1"}]
)
def test_contradictions_are_refused(options: dict) -> None:
    with pytest.raises(BadConfiguration, match="Remedy"):
        ExportOptions(**options)
