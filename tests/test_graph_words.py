"""What a tensor and a graph say of themselves: sizes, contents, and real data as their ends hold them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.graph.bytes import raw_bytes
from export.graph.encoding import codes_of, decoded, stored
from export.graph.ir import Graph, MalformedGraph, Value, View
from qtorch.numbers.functional import dequantize
from qtorch.numbers.qparams import QParams

HALVES = QParams((0.5,), (-3,))


def image_graph(qparams: QParams | None) -> Graph:
    """A graph that gives its input back, stored channels last."""
    view = View((1, 3, 2, 2), (0, 3, 1, 2))
    return Graph({"x": Value((1, 2, 2, 3), qparams)}, (), ("x",), ("x",), {"x": view})


@pytest.mark.parametrize("dtype", ["int4", "int8", "int16", "int32", "int64", "float16", "float32"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 4)])
def test_bytes_are_those_that_lie_in_the_file(dtype: str, shape: tuple[int, ...]) -> None:
    if dtype.startswith("float"):
        value = Value(shape, None, np.zeros(shape, dtype))
    else:
        value = Value(shape, QParams((1.0,), (0,), dtype), np.zeros(shape, "int8" if dtype == "int4" else dtype))
    assert value.bytes == len(raw_bytes(value.contents, value.dtype))
    assert value.elements == value.contents.size


def test_what_a_tensor_lacks_is_said() -> None:
    with pytest.raises(MalformedGraph, match=r"float32 \(1, 2\): expected a constant"):
        _ = Value((1, 2), None).contents
    with pytest.raises(MalformedGraph, match=r"float32 \(1, 2\): expected integers on a grid"):
        _ = Value((1, 2), None).quantization


def test_constants_and_what_is_computed_share_a_graph_between_them() -> None:
    held = np.ones(2, np.float32)
    graph = Graph({"x": Value((1, 2), None), "c": Value((2,), None, held)}, (), ("x",), ("x",))
    assert list(graph.running()) == ["x"]
    assert graph.contents().keys() == graph.constants().keys() == {"c"}
    assert graph.contents()["c"] is held


def test_real_data_are_encoded_in_the_device_s_order_and_on_its_grid() -> None:
    graph = image_graph(HALVES)
    x = torch.arange(24.0).reshape(2, 3, 2, 2) * 0.5
    (codes,) = codes_of(graph, x)
    np.testing.assert_array_equal(codes, np.arange(24).reshape(2, 3, 2, 2).transpose(0, 2, 3, 1) - 3)
    assert codes.dtype == np.int8
    (real,) = decoded(graph, (codes,))
    np.testing.assert_array_equal(real, x.numpy())
    assert real.dtype == np.float32


def test_without_a_grid_data_only_change_their_order() -> None:
    graph = image_graph(None)
    x = torch.randn(2, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    for arrays in (codes_of(graph, x), stored(graph, x)):
        np.testing.assert_array_equal(arrays[0], x.numpy().transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(decoded(graph, arrays)[0], x.numpy())


def test_codes_per_channel_stand_for_what_they_do_in_training() -> None:
    qparams = QParams((0.5, float(np.float32(0.1)), 3.0), (0, 0, 0), "int8", axis=1)
    codes = np.random.default_rng(0).integers(-127, 128, (4, 3, 2)).astype(np.int8)
    wanted = dequantize(torch.from_numpy(codes.astype(np.int64)), qparams.grid, 1)
    np.testing.assert_array_equal(qparams.dequantize(codes), wanted.numpy())
