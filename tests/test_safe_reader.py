"""The reader against damaged files: each is read, or refused in words, quickly and in little memory."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import fx, nn

import qtorch
from export.__main__ import main as export_main
from export.compiled_file.model_in_file import model_in_file
from export.graph.build import integer_graph
from export.tflite.contents import read_contents
from export.tflite.soundness import require_sound, unsound
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from tests.answers_to_files import answer
from tests.damaged_files import DAMAGE, damaged
from tests.foreign_models import FOREIGN, foreign_model
from tests.schema_file import SchemaFile
from tests.test_file_contents import repacked


def exported(network: nn.Module, *shape: int) -> bytes:
    torch.manual_seed(0)
    x = torch.rand(32, *shape)
    qat = qtorch.prepare(network, x[:1]).eval()
    qtorch.calibrate(qat, [x])
    return write_tflite(integer_graph(qat), names=True)


@pytest.fixture(scope="module")
def models() -> list[bytes]:
    """Own exports with every kind of field, and files as others write them."""
    torch.manual_seed(0)
    own = [
        exported(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), 4),
        exported(
            nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)),
            1,
            6,
            6,
        ),
        exported(nn.Sequential(nn.Conv1d(2, 3, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(18, 4), nn.Softmax(1)), 2, 8),
    ]
    return [*own, *(foreign_model(make()) for make in FOREIGN.values())]


def damaged_answers(models: list[bytes], seeds: range, judge: int) -> Counter[str]:
    """What was said of each file; TFLite Micro runs one of ``judge``."""
    answer(models[0], judge=True)
    base, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Counter[str]()
    for seed in seeds:
        kind, model = damaged(models, seed)
        started = time.process_time()
        said[answer(model, judge=False)] += 1
        # A second of a machine of today; one that runs tests may be three times slower.
        assert time.process_time() - started < 3, (seed, kind)
        if judge and seed % judge == 0:
            said[f"judged: {answer(model)}"] += 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024 < 200
    return said


def test_damaged_files_are_answered(models: list[bytes]) -> None:
    said = damaged_answers(models, range(600), 20)
    # Damage of every depth is among them, and what it does not touch is read.
    assert min(said[each] for each in ("reader", "sound", "graph", "read")) > 10, said


@pytest.mark.sweep
@pytest.mark.tflm
def test_ten_thousand_damaged_files(models: list[bytes]) -> None:
    said = damaged_answers(models, range(1_000, 11_000), 5)
    assert said["judged: equal"] > 100, said


def test_every_kind_of_damage_does_some(models: list[bytes]) -> None:
    kinds = {damaged(models, seed)[0] for seed in range(100)}
    assert kinds == set(DAMAGE)
    assert all(damaged([model], seed)[1] == damaged([model], seed)[1] for model in models for seed in range(20))


@pytest.fixture(scope="module")
def mlp(models: list[bytes]) -> bytes:
    return models[0]


def opened(model: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))


def _shape(index: int, shape: list[int]) -> Callable[[Any], None]:
    return lambda model: setattr(model.subgraphs[0].tensors[index], "shape", shape)


def _tensor(index: int, name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(model.subgraphs[0].tensors[index], name, value)


def _grid(index: int, **fields: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        for name, value in fields.items():
            setattr(model.subgraphs[0].tensors[index].quantization, name, value)

    return change


def _graph(name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(model.subgraphs[0], name, value)


def _operator(index: int, name: str, value: Any) -> Callable[[Any], None]:
    return lambda model: setattr(model.subgraphs[0].operators[index], name, value)


def _shuffled(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


#: What is changed in a network of two layers, whose tensors 0, 3 and 6 are input, result and output; what is said.
UNSOUND: dict[str, tuple[Callable[[Any], None], str]] = {
    "a size below 0": (_shape(0, [1, -4]), "tensor 0 .*sizes of 0 or more, got 1x-4"),
    "no element": (_shape(0, [1, 0]), "tensor 0 .*sizes of 1 or more"),
    "64 PiB": (_shape(0, [2**20, 2**30]), "at most 2,147,483,647 elements"),
    "nine axes": (_shape(0, [1] * 9), "at most 8 axes, got 9"),
    "a short buffer": (_shape(1, [6, 5]), "30 bytes for 6x5 of int8, got 24 bytes"),
    "a long buffer": (_shape(1, [6, 3]), "18 bytes for 6x3 of int8, got 24 bytes"),
    "another type": (_tensor(1, "type", schema.TensorType.INT16), "48 bytes for 6x4 of int16, got 24 bytes"),
    "no type": (_tensor(0, "type", 77), "a type of the schema, got type 77"),
    "a scale of 0": (_grid(0, scale=[0.0]), "scales that are finite and above 0, got 0"),
    "an infinite scale": (_grid(0, scale=[float("inf")]), "finite and above 0, got inf"),
    "a scale of nan": (_grid(0, scale=[float("nan")]), "finite and above 0, got nan"),
    "too few zero points": (_grid(1, zeroPoint=[0, 0]), "as many zero points as scales, got 2 and 6"),
    "too few scales": (_grid(1, scale=[0.1] * 4, zeroPoint=[0] * 4), "6 scales along axis 0, one a channel, got 4"),
    "an axis beyond": (_grid(1, quantizedDimension=7), "scales along one of 2 axes, got axis 7"),
    "a zero point of no code": (_grid(0, zeroPoint=[2**40]), "zero points of int8 from -128 to 127"),
    "no inputs": (_graph("inputs", None), "inputs: expected at least one of the inputs, got none"),
    "no outputs": (_graph("outputs", []), "outputs: expected at least one of the outputs, got none"),
    "an input that is a constant": (_graph("inputs", [0, 1]), "without contents, got the constant tensor 1"),
    "an output of nobody": (_operator(1, "outputs", []), "got one that no operator makes, tensor 6"),
    "an input twice": (_graph("inputs", [0, 0]), "each tensor once"),
    "an order that is none": (_shuffled, r"operator 0 .*ready before it, got tensor 3 .*operator 1 makes, behind"),
    "a circle": (_operator(0, "inputs", [3, 1, 2]), "operator 0 .*, which it makes itself"),
    "a tensor twice": (_operator(1, "outputs", [3]), "operator 1 .*, which it makes itself|which is made twice"),
    "a constant that is made": (_operator(0, "outputs", [1]), "outputs that are no constants, got tensor 1"),
    "an input that is made": (_operator(1, "outputs", [0]), "no inputs of the network, got tensor 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
@pytest.mark.parametrize("command", ["verify", "profile", "lint", "summary"])
def test_what_can_not_be_computed_is_named(
    name: str, command: str, mlp: bytes, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    change, said = UNSOUND[name]
    model = opened(mlp)
    change(model)
    path = tmp_path / "changed.tflite"
    path.write_bytes(repacked(model))
    assert export_main([command, str(path)]) == (0 if command == "summary" else 2)
    shown = capsys.readouterr()
    words = shown.out if command == "summary" else shown.err
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(" ".join(words.split()))


def test_what_was_written_is_sound(models: list[bytes], network: fx.GraphModule) -> None:
    for model in (*models[:3], write_tflite(integer_graph(network))):
        assert not list(unsound(read_contents(model)))


def test_indices_are_held_against_their_tables(mlp: bytes) -> None:
    for change, said in (
        (_tensor(0, "buffer", 9999), "buffer 9999 of"),
        (_operator(0, "opcodeIndex", 7), "operator code 7 of 1"),
        (_operator(0, "inputs", [0, 1, 70]), r"tensor indices \(0, 1, 70\) of 7 tensors"),
        (_graph("inputs", [-2]), r"tensor indices \(-2,\) of 7"),
    ):
        model = opened(mlp)
        change(model)
        with pytest.raises(BadModelFile, match=said):
            read_contents(repacked(model))
    model = opened(mlp)
    for index, tensor, said in ((3, 0, "a signature of subgraph 3 of 1"), (0, 40, "a signature with tensor 40 of 7")):
        model.signatureDefs = [schema.SignatureDefT()]
        model.signatureDefs[0].subgraphIndex = index
        model.signatureDefs[0].inputs = [schema.TensorMapT()]
        model.signatureDefs[0].inputs[0].tensorIndex = tensor
        with pytest.raises(BadModelFile, match=said):
            read_contents(repacked(model))


def test_vectors_that_overlap_are_not_followed_for_long(mlp: bytes) -> None:
    """A table that a vector names a hundred thousand times: a small file, and hours of reading."""
    model = opened(mlp)
    shared = model.subgraphs[0].tensors[0]
    shared.name = b"n" * 5_000
    packed = bytearray(repacked(model))
    # All entries of a long vector are made to point at the first tensor.
    root = schema.Model.GetRootAs(packed)
    graph = root.Subgraphs(0)
    start = graph._tab.Vector(graph._tab.Offset(4))
    behind = len(packed)
    first = start + int.from_bytes(packed[start : start + 4], "little")
    count = 100_000
    field = graph._tab.Pos + graph._tab.Offset(4)
    packed[field : field + 4] = (behind - field).to_bytes(4, "little")
    packed += count.to_bytes(4, "little")
    for index in range(count):
        at = behind + 4 + 4 * index
        packed += ((first - at) % 2**32).to_bytes(4, "little")
    started = time.process_time()
    with pytest.raises(BadModelFile):
        read_contents(bytes(packed))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("command", ["verify", "profile"])
def test_constants_outside_the_flatbuffer_are_said_to_be_so(
    mlp: bytes, command: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """As litert-torch 0.10 writes them; TFLite Micro computes with other bytes."""
    model = opened(mlp)
    buffer = model.buffers[model.subgraphs[0].tensors[1].buffer]
    weights = bytes(buffer.data)
    buffer.data, buffer.offset, buffer.size = None, 4096, len(weights)
    head = repacked(model)
    outside = head + bytes(4096 - len(head)) + weights
    path = tmp_path / "outside.tflite"
    path.write_bytes(outside)
    contents = read_contents(outside)
    assert contents.subgraphs[0].tensors[1].outside
    assert [buffer.outside for buffer in contents.buffers].count(True) == 1
    require_sound(contents, outside=True)
    assert export_main([command, str(path)]) == 2
    assert "TFLite Micro would compute with other bytes" in capsys.readouterr().err
    assert export_main(["summary", str(path)]) == 0
    assert "outside the flatbuffer" in capsys.readouterr().out


def test_sparse_constants_are_plain_data(mlp: bytes) -> None:
    model = opened(mlp)
    tensor = model.subgraphs[0].tensors[1]
    sparsity = tensor.sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = [0, 1]
    dense, rows = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    dense.format, dense.denseSize = 0, 6
    rows.format = 1
    rows.arraySegmentsType = rows.arrayIndicesType = schema.SparseIndexVector.Uint8Vector
    rows.arraySegments, rows.arrayIndices = schema.Uint8VectorT(), schema.Uint8VectorT()
    rows.arraySegments.values, rows.arrayIndices.values = [0, 1, 2, 2, 2, 2, 3], [3, 0, 2]
    sparsity.dimMetadata = [dense, rows]
    model.buffers[tensor.buffer].data = np.array([1, 2, 3], np.uint8)
    contents = read_contents(repacked(model))
    found = contents.subgraphs[0].tensors[1].sparsity
    assert found is not None
    assert (found.traversal_order, found.formats, found.dense_sizes) == ((0, 1), (0, 1), (6, 0))
    assert (found.segments, found.indices) == (((), (0, 1, 2, 2, 2, 2, 3)), ((), (3, 0, 2)))
    with pytest.raises(BadModelFile, match="of which only some elements are stored"):
        require_sound(contents)


def test_damage_is_named_before_an_operator_that_no_row_reads() -> None:
    """A converter that saw zeros alone divides by their range."""
    file = SchemaFile()
    x = file.tensor([1, 3], "int8", float("nan"), 0, name="x", end="input")
    file.operator("RANK", [x], [file.tensor([1, 3], "int8", 0.05, 0, name="y", end="output")])
    with pytest.raises(BadModelFile, match=r"tensor 0 'x': expected scales that are finite and above 0, got nan"):
        model_in_file(file.written(), "m.tflite")
