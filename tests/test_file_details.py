"""What stands in a .tflite file beside tensors: versions and codes of operators, alignment, the number of subgraphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

import qtorch
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile


def graph(**quantization: Any) -> Graph:
    torch.manual_seed(0)
    x = torch.rand(64, 9)
    net = nn.Sequential(nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 5))
    qat = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(**quantization)).eval()
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


def changed(model: bytes, change: Callable[[Any], None]) -> bytes:
    """The file, taken apart and put together again by the schema's own classes."""
    found = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    change(found)
    builder = flatbuffers.Builder(1024)
    builder.Finish(found.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def offsets(model: bytes) -> list[int]:
    """Where the file's constants begin; each stands there once."""
    root = schema.Model.GetRootAs(bytearray(model))
    buffers = [root.Buffers(i) for i in range(root.BuffersLength())]
    found = [bytes(buffer.DataAsNumpy()) for buffer in buffers if buffer.DataLength()]
    assert all(model.count(each) == 1 for each in found)
    return [model.index(each) for each in found]


@pytest.mark.parametrize("plain", ["0", "2"])
def test_an_operator_has_the_version_of_its_newest_node(plain: str) -> None:
    """12 reads weights per channel, 4 does not; whichever node comes first."""
    model = schema.Model.GetRootAs(bytearray(write_tflite(graph(layers={plain: {"weights": "per_tensor"}}))))
    assert model.OperatorCodesLength() == 1
    assert model.OperatorCodes(0).Version() == 12
    alone = schema.Model.GetRootAs(bytearray(write_tflite(graph(weights="per_tensor"))))
    assert alone.OperatorCodes(0).Version() == 4


def test_constants_off_their_boundaries_are_refused() -> None:
    """The schema's own classes align to 4 bytes; what comes behind the constants moves them."""
    written = graph()
    read_tflite(write_tflite(written))
    model = changed(write_tflite(written), lambda model: setattr(model, "description", b"moved"))
    assert any(offset % 16 for offset in offsets(model))
    with pytest.raises(BadModelFile, match="not aligned to 16"):
        read_tflite(model)
    assert [node.op for node in read_tflite(model, aligned=False).nodes] == [node.op for node in written.nodes]


@pytest.mark.parametrize("field", ["builtinCode", "deprecatedBuiltinCode"])
def test_either_field_alone_names_an_operator(field: str) -> None:
    """Old files have the narrow one alone; the larger counts."""
    written = graph()

    def cleared(model: Any) -> None:
        for code in model.operatorCodes:
            setattr(code, field, 0)

    found = read_tflite(changed(write_tflite(written), cleared), aligned=False)
    assert [node.op for node in found.nodes] == [node.op for node in written.nodes]


def test_a_subgraph_that_nothing_runs_is_no_part_of_what_is_read() -> None:
    """Other signatures of the same model; this project's own writer puts one."""

    def doubled(model: Any) -> None:
        model.subgraphs = [*model.subgraphs, *model.subgraphs]

    written = graph()
    both = changed(write_tflite(written), doubled)
    assert len(read_tflite(both, aligned=False).nodes) == len(written.nodes)
    with pytest.raises(BadModelFile, match=r"not aligned|2 subgraphs instead of one"):
        read_tflite(both)


def test_bytes_of_a_file_are_those_of_its_constants() -> None:
    written = graph()
    found = read_tflite(changed(write_tflite(written), lambda model: None), aligned=False)
    for name, other in zip(written.values.values(), found.values.values(), strict=True):
        if name.data is not None:
            np.testing.assert_array_equal(name.data, other.data)
