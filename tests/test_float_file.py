"""Float networks out of .tflite files: LiteRT computes the same, and they are quantized as anybody's network is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from export.__main__ import main as export_main
from export.engines.litert import LITERT_REFERENCE
from export.float_file.read import float_file
from export.float_networks.checkpoint import float_network
from export.graph.build import float_graph
from export.tflite.contents import read_contents
from export.tflite.equivalents.equivalents import in_known_operators
from export.tflite.equivalents.unpacked_constants import with_float_constants
from export.tflite.writer import write_tflite
from qtorch.errors import BadConfiguration, BadModelFile, ParityError
from tests.foreign_models import FOREIGN, foreign_model
from tests.small_files import Op, Tensor, small_file


def _image_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.PReLU(6),
        nn.MaxPool2d(2), nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Flatten(), nn.Linear(64, 5), nn.Softmax(-1),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic_range"])
def test_the_network_that_was_written_is_read(kind: Any) -> None:
    """Every kind of layer with weights, whose order of axes a file has otherwise."""
    net, images = _image_network(), torch.randn(6, 3, 8, 8)
    model = write_tflite(float_graph(net, images[:1], kind, "nhwc"))
    read, remark = float_file(model, "m.tflite")
    assert remark.startswith("m.tflite: a ")
    assert "its network equals LiteRT's up to " in remark
    with torch.no_grad():
        got, wanted = read(images.permute(0, 2, 3, 1)), net(images)
    allowed = {"float32": 1e-6, "float16": 2e-3, "dynamic_range": 3e-2}[kind]
    assert (got - wanted).abs().max() < allowed
    if kind == "float32":
        (judged,) = LITERT_REFERENCE.run(model, (images.permute(0, 2, 3, 1).numpy(),))
        assert np.abs(got.numpy() - judged).max() < 1e-6


def test_a_network_that_differs_from_litert_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from export.float_file import network

    model = write_tflite(float_graph(_image_network(), torch.randn(1, 3, 8, 8), "float32", "nhwc"))
    held = network._floats
    monkeypatch.setattr(network, "_floats", lambda *arguments: held(*arguments) * 1.01)
    with pytest.raises(ParityError, match="LiteRT's outputs differ from those of the network that was read"):
        float_file(model)


def test_a_float_file_is_quantized_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, data = tmp_path / "net.tflite", tmp_path / "x.npy"
    path.write_bytes(write_tflite(float_graph(_image_network(), torch.randn(1, 3, 8, 8), "float16", "nhwc")))
    np.save(data, np.random.default_rng(0).normal(size=(48, 8, 8, 3)).astype(np.float32))
    assert export_main(["quantize", str(path), "--data", str(data), "--out", str(tmp_path / "out")]) == 0
    assert "held in float16" in " ".join(capsys.readouterr().out.split())
    graph = read_contents((tmp_path / "out" / "out.tflite").read_bytes()).subgraphs[0]
    assert {graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)} == {"int8"}
    assert [operator.name for operator in graph.operators].count("CONV_2D") == 1
    with pytest.raises(BadConfiguration, match="the file holds the whole network"):
        float_network(path, "my.Net", {})


@pytest.mark.parametrize("name", ["int8_layers", "two_subgraphs", "custom_and_unknown_ops"])
def test_what_is_no_float_network_is_refused_by_name(name: str) -> None:
    with pytest.raises(BadModelFile, match="expected a network in floats, which is quantized, got a network"):
        float_file(foreign_model(FOREIGN[name]()), "m")


def _axis(size: int = 0, segments: list[int] | None = None, indices: list[int] | None = None) -> Any:
    made = schema.DimensionMetadataT()
    made.format, made.denseSize = int(segments is not None), size
    if segments is not None:
        made.arraySegmentsType = made.arrayIndicesType = schema.SparseIndexVector.Int32Vector
        made.arraySegments, made.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
        made.arraySegments.values, made.arrayIndices.values = segments, indices
    return made


def _sparse(order: list[int], blocks: list[int], axes: list[Any]) -> Any:
    made = schema.SparsityParametersT()
    made.traversalOrder, made.blockMap, made.dimMetadata = order, blocks, axes
    return made


_WEIGHT = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 4, 5], [6, 7, 0, 0]], np.float32)
#: The same matrix row by row, column by column, and in blocks of 2 x 2 of which the second is left out.
_STORED = {
    "rows": (_sparse([0, 1], [], [_axis(4), _axis(0, [0, 2, 2, 5, 7], [1, 3, 0, 2, 3, 0, 1])]), [1, 2, 3, 4, 5, 6, 7]),
    "columns": (
        _sparse([1, 0], [], [_axis(4), _axis(0, [0, 2, 4, 5, 7], [2, 3, 0, 3, 2, 0, 2])]), [3, 6, 1, 7, 4, 2, 5],
    ),
    "blocks": (
        _sparse([0, 1, 2, 3], [0, 1], [_axis(2), _axis(0, [0, 2, 4], [0, 1, 0, 1]), _axis(2), _axis(2)]),
        [0, 1, 0, 0, 0, 2, 0, 0, 3, 0, 6, 7, 4, 5, 0, 0],
    ),
}  # fmt: skip


def _file(sparsity: Any, stored: list[int], dtype: str = "float32") -> bytes:
    tensors = [
        Tensor("float32", [1, 4]), Tensor(dtype, [4, 4], np.array(stored, dtype), sparsity=sparsity),
        Tensor(dtype, [4, 4]), Tensor("float32", [4, 4]), Tensor("float32", [1, 4]),
    ]  # fmt: skip
    operators = [Op("DENSIFY", [1], [2]), Op("FULLY_CONNECTED", [0, 2, -1], [4], "FullyConnectedOptions")]
    if dtype == "float16":
        operators[1:] = [
            Op("DEQUANTIZE", [2], [3]), Op("FULLY_CONNECTED", [0, 3, -1], [4], "FullyConnectedOptions")
        ]  # fmt: skip
    return small_file(tensors, operators, [0], [4])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("form", _STORED)
def test_sparse_constants_are_written_out(form: str, dtype: str) -> None:
    """LiteRT, which has DENSIFY, is the oracle: the network is compared with it when it is read."""
    model = _file(*_STORED[form], dtype)
    read, remark = float_file(model)
    assert "its network equals LiteRT's" in remark
    x = torch.randn(3, 4)
    assert torch.allclose(read(x), x @ torch.from_numpy(_WEIGHT).T, atol=1e-5)
    if dtype == "float32":
        names = [operator.name for operator in in_known_operators(read_contents(model)).subgraphs[0].operators]
        assert names == ["FULLY_CONNECTED"]


@pytest.mark.parametrize(
    ("sparsity", "said"),
    [
        (_sparse([0, 0], [], [_axis(4), _axis(4)]), "sparse axes in the order"),
        (_sparse([0, 1], [], [_axis(4), _axis(0, [0, 2, 2, 5, 9], [1, 3, 0, 2, 3, 0, 1])]), "beginnings of 4"),
        (_sparse([0, 1], [], [_axis(4), _axis(0, [0, 2, 2, 5, 7], [1, 3, 0, 2, 9, 0, 1])]), "at 9 of axis 1"),
        (_sparse([0, 1], [], [_axis(2**30), _axis(2**30)]), "sparse elements"),
        (_sparse([0, 1, 2], [7], [_axis(4), _axis(4), _axis(1)]), "blocks of axes"),
    ],
)
def test_wrong_sparse_constants_are_refused(sparsity: Any, said: str) -> None:
    model = _file(sparsity, [1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(ValueError, match=said):
        with_float_constants(read_contents(model))
    with pytest.raises(BadModelFile, match=said):
        float_file(model)
