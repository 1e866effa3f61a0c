"""The one reader of .tflite bytes: what it takes of anybody's file, and that nothing else in the export reads any."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import flatbuffers
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import fx, nn

import qtorch
from export.graph.build import integer_graph
from export.tflite.contents import read_contents
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import BadModelFile
from tests.foreign_models import FOREIGN, foreign_model

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def network() -> fx.GraphModule:
    torch.manual_seed(0)
    x = torch.rand(32, 2, 6, 6)
    qat = qtorch.prepare(nn.Sequential(nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten()), x[:1]).eval()
    qtorch.calibrate(qat, [x])
    return qat


def repacked(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_it_reads_what_was_written(network: fx.GraphModule) -> None:
    graph = integer_graph(network)
    model = write_tflite(graph, names=True, metadata={"note": b"said"})
    contents = read_contents(model)
    (subgraph,) = contents.subgraphs
    convolution = subgraph.operators[0]
    assert convolution.name == "CONV_2D"
    assert {"StrideH": 2, "StrideW": 2, "DilationHFactor": 1}.items() <= convolution.options.items()
    for tensor, value in zip(subgraph.tensors, graph.values.values(), strict=False):
        assert (tensor.shape, tensor.dtype) == (value.shape, value.dtype)
        assert (tensor.scale, tensor.zero_point) == (value.quantization.scale, value.quantization.zero_point)
        buffer = contents.buffers[tensor.buffer]
        assert bytes(buffer.data) == (b"" if value.data is None else value.contents.tobytes())
        assert model[buffer.offset : buffer.offset + tensor.constant_bytes] == buffer.data
    assert [(each.name, each.data) for each in contents.metadata] == [("note", b"said")]


@pytest.mark.parametrize("name", FOREIGN)
def test_anybodys_file_is_plain_data(name: str) -> None:
    """Nothing of the flatbuffer is left in it: numbers, text, bytes, tuples and dictionaries of them."""
    contents = read_contents(foreign_model(FOREIGN[name]()))

    def plain(value: Any) -> bool:
        if dataclasses.is_dataclass(value):
            return all(plain(getattr(value, each.name)) for each in dataclasses.fields(value))
        if isinstance(value, tuple):
            return all(map(plain, value))
        if isinstance(value, dict):
            return all(map(plain, value.values()))
        return value is None or isinstance(value, int | float | str | bytes | memoryview)

    assert plain(contents)


def test_a_vector_that_a_file_leaves_out_is_no_empty_one() -> None:
    """Of RESHAPE's options the shape may be absent, where an input has it."""

    def options(shape: list[int] | None) -> dict[str, Any]:
        model = FOREIGN["float_with_dynamic_shapes"]()
        (operator,) = model.subgraphs[0].operators
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = shape
        return dict(read_contents(foreign_model(model)).subgraphs[0].operators[0].options)

    assert options([2, -1]) == {"NewShape": (2, -1)}
    assert options([]) == {"NewShape": ()}
    assert options(None) == {}


def test_constants_behind_the_flatbuffer_are_read(network: fx.GraphModule) -> None:
    """As in files above 2 GB: of each buffer the file says where in it the bytes lie."""
    plain = write_tflite(integer_graph(network))

    def apart(sizes: int) -> bytes:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(plain)))
        behind = b""
        for buffer in model.buffers:
            if buffer.data is not None:
                buffer.offset, buffer.size = sizes + len(behind), len(buffer.data)
                behind += bytes(buffer.data) + bytes(-len(buffer.data) % 16)
                buffer.data = None
        head = repacked(model)
        return head + bytes(sizes - len(head)) + behind

    model = apart(16 * len(plain))
    for mine, other in zip(read_contents(plain).buffers, read_contents(model).buffers, strict=True):
        assert mine.data == other.data
    own, other_graph = (read_tflite(each) for each in (plain, model))
    assert own.contents().keys() == other_graph.contents().keys()
    with pytest.raises(BadModelFile, match="a constant that ends at"):
        read_contents(model[:-16])


def test_nothing_else_reads_the_bytes_of_a_file() -> None:
    """TFLite Micro's engine asks for one number, how many outputs there are, and stands in a room below; what is to be
    packed again in other places has to be unpacked by the schema's own classes."""
    readers = [path for path in (ROOT / "export").rglob("*.py") if "Model.GetRootAs" in path.read_text()]
    assert {str(path.relative_to(ROOT)) for path in readers} == {
        "export/tflite/contents.py", "export/tflite/inside.py", "export/tflite/entries.py",
        "export/engines/tflm.py", "export/engines/unplanned.py",
    }  # fmt: skip


def test_a_file_that_ends_too_early_is_told_where_it_ends(network: fx.GraphModule) -> None:
    model = write_tflite(integer_graph(network))
    for end in (9, 30, 200, 500):
        said = f"got one that ends at byte {end}, where it says that there is more"
        with pytest.raises(BadModelFile, match=said):
            read_contents(model[:end])
