"""Any file's summary: this project's, other converters', damaged ones."""

from __future__ import annotations

import json
import time
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from torch import fx

from export.__main__ import main as export_main
from export.commands.summary_page import summary_page
from export.console.page import plain_text
from export.graph.build import integer_graph
from export.tflite.summary import summarize
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from tests.foreign_models import FOREIGN, foreign_model


def test_an_own_file(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    model = write_tflite(graph)
    found = summarize(model)
    (only,) = found.subgraphs
    assert found.bytes == len(model)
    assert [op.op for op in only.ops] == ["FULLY_CONNECTED"] * 3
    assert [op.version for op in only.ops] == [12] * 3
    for tensor, value in zip(only.tensors, graph.values.values(), strict=True):
        assert (tensor.shape, tensor.dtype) == (value.shape, value.dtype)
        assert (tensor.scale, tensor.zero_point) == (value.quantization.scale, value.quantization.zero_point)
        assert tensor.constant_bytes == (0 if value.data is None else value.bytes)
    assert found.constant_bytes == sum(value.bytes for value in graph.constants().values())
    assert only.tensors[1].axis == 0


def test_a_float_file_with_dynamic_shapes() -> None:
    found = summarize(foreign_model(FOREIGN["float_with_dynamic_shapes"]()))
    (graph,) = found.subgraphs
    assert [tensor.shape for tensor in graph.tensors] == [(-1, 4), (2, 4), (2,), (-1, 2)]
    assert [tensor.constant_bytes for tensor in graph.tensors] == [0, 32, 8, 0]
    assert [entry.content for entry in found.metadata] == [{"a": [1]}, "1.5.0", None]
    assert [entry.bytes for entry in found.metadata] == [10, 8, 3]
    assert (found.signatures[0].key, found.signatures[0].inputs) == ("serving_default", ("x",))
    text = plain_text(summary_page(found))
    assert "?x4" in text
    assert "metadata 'entry0', 10 bytes: {" in text
    assert "metadata 'entry2', 3 bytes\n" in text
    assert "made elsewhere" in text
    assert "dense/kernel" in text


def test_custom_and_unknown_operators() -> None:
    found = summarize(foreign_model(FOREIGN["custom_and_unknown_ops"]()))
    (graph,) = found.subgraphs
    assert [(op.op, op.version) for op in graph.ops] == [("CUSTOM:Audio\tFrontend", 3), ("UNKNOWN:9999", 7)]
    assert graph.ops[0].inputs == (0, -1)
    assert [tensor.shape for tensor in graph.tensors] == [(1, 3), None, (2,)]
    assert graph.tensors[2].variable
    text = plain_text(summary_page(found))
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert "\t" not in text


def test_several_subgraphs_and_a_scale_that_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(foreign_model(FOREIGN["two_subgraphs"]()))
    assert export_main(["summary", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [graph["name"] for graph in found["subgraphs"]] == ["main", "body"]
    assert found["subgraphs"][0]["tensors"][1]["scale"] == [0.5, "nan"]
    assert found["subgraphs"][0]["tensors"][1]["axis"] == 1
    assert found["subgraphs"][0]["tensors"][0]["shape"] == []
    assert found["subgraphs"][1]["tensors"][0]["dtype"] == "string"
    assert export_main(["summary", str(path)]) == 0
    text = capsys.readouterr().out
    assert "subgraph 1 body" in text
    assert "a scale of nan" in text


def all_models(network: fx.GraphModule) -> list[bytes]:
    return [write_tflite(integer_graph(network)), *(foreign_model(make()) for make in FOREIGN.values())]


def test_truncated_files(network: fx.GraphModule) -> None:
    for model in all_models(network):
        summarize(model)
        whole = 0
        for length in range(len(model)):
            try:
                summarize(model[:length], "cut.tflite")
            except BadModelFile as error:
                said = str(error)
            else:
                whole = whole or length
        assert "cut.tflite" in said
        assert "Remedy" in said
        # What is cut off may be padding that nothing refers to, no more.
        assert not whole or len(model) - whole < 16, (whole, len(model))


def test_damaged_files_are_refused_or_read_but_never_crash(network: fx.GraphModule) -> None:
    rng, refused, started = np.random.default_rng(0), 0, time.perf_counter()
    for model in all_models(network):
        for _ in range(300):
            damaged = np.frombuffer(model, np.uint8).copy()
            damaged[rng.integers(8, len(damaged), rng.integers(1, 12))] = rng.integers(0, 256)
            try:
                plain_text(summary_page(summarize(damaged.tobytes())))
            except BadModelFile:
                refused += 1
    assert refused > 100
    assert time.perf_counter() - started < 120


@pytest.mark.parametrize("size", [0, 3, 8, 100, 5000])
def test_random_bytes(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(50):
        data = rng.integers(0, 256, size, np.uint8).tobytes()
        with pytest.raises(BadModelFile):
            summarize(data)
        with pytest.raises(BadModelFile):
            summarize(data[:4] + b"TFL3" + data[8:])


def test_a_vector_that_claims_to_be_huge_is_refused_at_once(network: fx.GraphModule) -> None:
    model = write_tflite(integer_graph(network))
    refused = 0
    for start in range(8, len(model) - 4, 4):
        huge = model[:start] + (2**31 - 1).to_bytes(4, "little") + model[start + 4 :]
        started = time.perf_counter()
        try:
            summarize(huge)
        except BadModelFile:
            refused += 1
        assert time.perf_counter() - started < 5
    assert refused > 50


def test_the_command_refuses_what_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert export_main(["summary", str(tmp_path / "absent.tflite")]) == 2
    assert "absent.tflite" in capsys.readouterr().err
    (tmp_path / "text.tflite").write_text("not a model")
    assert export_main(["summary", str(tmp_path / "text.tflite")]) == 2
    assert "TFL3" in capsys.readouterr().err


def test_an_operators_options_must_lie_in_the_file() -> None:
    model = bytearray(foreign_model(FOREIGN["float_with_dynamic_shapes"]()))
    table = schema.Model.GetRootAs(model).Subgraphs(0).Operators(0)._tab
    at = table.Pos + table.Offset(12)  # of builtin_options
    model[at : at + 4] = len(model).to_bytes(4, "little")
    with pytest.raises(BadModelFile, match="ends at byte"):
        summarize(bytes(model))


def test_vectors_that_overlap_are_not_followed_for_hours() -> None:
    """A small file whose 2,000 subgraphs are one, with 2,000 tensors that are one: four million to visit."""
    builder, many = flatbuffers.Builder(256), 2000

    def vector(offset: int) -> int:
        builder.StartVector(4, many, 4)
        for _ in range(many):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    schema.TensorStart(builder)
    tensors = vector(schema.TensorEnd(builder))
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    subgraphs = vector(schema.SubGraphEnd(builder))
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(BadModelFile, match="overlap"):
        summarize(bytes(builder.Output()))
