"""Each pass on small graphs, text before and text after; and the laws that hold for every pass on every graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import fx

import qtorch
from export.graph.build import build, float_graph, integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph, Node, Value, View, check
from export.graph.lower import lower
from export.graph.passes.float_interface import float_interface
from export.graph.passes.layout import layout
from export.graph.passes.padding import padding
from export.graph.passes.unread_padding import unread_padding
from export.graph.passes.weight_only import dynamic_range, half_weights
from export.graph.text import text_of
from export.parity.outputs import corner_codes
from qtorch.numbers.qparams import QParams
from tests.pass_cases import GOLDEN, LOWERED, PASSES, golden_file, golden_text
from tests.test_layout import CASES, prepared

Pass = Callable[[Graph], Graph]

#: Networks on which the laws are held; those with windows have padding that SAME can say and padding that it can't.
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    **{name: (lambda net=net: net, shape) for name, (net, shape, _) in CASES.items()},
    "windows": (
        lambda: torch.nn.Sequential(
            torch.nn.Conv2d(2, 3, 3, stride=2, padding=1),
            torch.nn.ZeroPad2d((0, 1, 0, 1)),
            torch.nn.Conv2d(3, 3, 3, stride=2, groups=3),
            torch.nn.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1),
            torch.nn.MaxPool2d(3, 2, padding=1),
            torch.nn.AvgPool2d(3, 1, padding=1),
        ),
        (2, 16, 16),
    ),
}

#: The passes that take a graph of floats, and what each may do to the constants.
WEIGHTS: dict[str, Pass] = {"half_weights": half_weights, "dynamic_range": dynamic_range}


@cache
def of(name: str) -> fx.GraphModule:
    net, shape = NETWORKS[name]
    return prepared(net(), *shape)


def drawn(graph: Graph) -> tuple[np.ndarray, ...]:
    """Random inputs in the graph's own order of axes."""
    if graph.values[graph.inputs[0]].qparams is not None:
        return corner_codes(graph, 20)
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(20, *graph.values[n].shape[1:])).astype(np.float32) for n in graph.inputs)


def require_same(graph: Graph, other: Graph, inputs: tuple[np.ndarray, ...]) -> None:
    """The same numbers in PyTorch's order of axes; of floats up to the order of their sums.

    Args:
        graph: with its axes in PyTorch's order.
        other: what has to compute the same.
        inputs: of ``graph``.
    """
    stored = tuple(other.store(name, array) for name, array in zip(other.inputs, inputs, strict=True))
    expected, got = interpret(graph, inputs), interpret(other, stored)
    for mine, its in zip(graph.outputs, other.outputs, strict=True):
        restored = other.view(its).restore(got[its])
        assert len(np.unique(restored)) > 3
        if graph.values[mine].qparams is None:
            np.testing.assert_allclose(restored, expected[mine], rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(restored, expected[mine])


@pytest.mark.parametrize("name", [*LOWERED, *PASSES])
def test_a_pass_makes_of_a_graph_what_its_file_shows(name: str) -> None:
    """After a change that is meant, ``python -m tests.pass_cases`` writes the files anew: read what it wrote."""
    assert golden_text(name) == golden_file(name).read_text()


def test_every_file_is_somebodys() -> None:
    assert set(GOLDEN.iterdir()) == {golden_file(name) for name in (*LOWERED, *PASSES)}


GRID = QParams((0.5,), (-3,))
SMALL = Graph(
    {"x": Value((1, 2), GRID), "c": Value((1, 2), GRID, np.array([[1, 2]], np.int8)), "y": Value((1, 2), GRID)},
    (Node("add", {"activation": "none"}, ("x", "c"), ("y",)),),
    ("x",),
    ("y",),
)


def _with(name: str, **fields: Any) -> Graph:
    return replace(SMALL, values={**SMALL.values, name: replace(SMALL.values[name], **fields)})


def _node(**fields: Any) -> Graph:
    return replace(SMALL, nodes=(replace(SMALL.nodes[0], **fields),))


@pytest.mark.parametrize(
    "other",
    [
        _with("x", shape=(1, 3)),
        _with("x", qparams=replace(GRID, scale=(float(np.nextafter(np.float32(0.5), np.float32(1))),))),
        _with("y", qparams=replace(GRID, zero_point=(-2,))),
        _with("y", qparams=None),
        _with("c", data=np.array([[1, 3]], np.int8)),
        _with("c", qparams=QParams((0.5,), (0,), "int8", 1)),
        _node(attrs={"activation": "relu"}),
        _node(inputs=("c", "x")),
        _node(op="mul"),
        replace(SMALL, outputs=("x",)),
        replace(SMALL, outputs=("y", "x")),
        replace(SMALL, views={"x": View((1, 2), (0, 1))}),
        replace(SMALL, views={"y": View((1, 2), (0, 1))}),
        replace(SMALL, values={**SMALL.values, "z": Value((1,), None)}),
    ],
)
def test_another_graph_has_another_text(other: Graph) -> None:
    assert text_of(other) != text_of(SMALL)


@pytest.mark.parametrize("at", [0, 12, 99])
def test_a_large_constant_or_scale_stands_there_by_its_bytes(at: int) -> None:
    data, scales = np.zeros((100, 1), np.int8), [1.0] * 100
    other, finer = data.copy(), list(scales)
    other[at], finer[at] = 1, float(np.nextafter(np.float32(1), np.float32(2)))

    def text(held: np.ndarray, steps: list[float]) -> str:
        value = Value((100, 1), QParams(tuple(steps), (0,) * 100, "int8", 0), held)
        return text_of(Graph({"c": value}, (), (), ("c",)))

    assert len({text(data, scales), text(other, scales), text(data, finer)}) == 3


@pytest.mark.parametrize("floats", [False, True], ids=["integers", "floats"])
@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_pass_the_results_are_the_same(name: str, floats: bool) -> None:
    """Layout and padding; each gives a checked graph and leaves the one that it was given as it was."""
    naive = lower(of(name), floats=floats)
    before, inputs = text_of(naive), drawn(naive)
    for laid_out in (layout(naive), layout(naive, "nchw")):
        require_same(naive, check(laid_out), inputs)
        moved = text_of(laid_out)
        padded = padding(laid_out)
        require_same(naive, check(padded), inputs)
        assert text_of(padding(padded)) == text_of(padded)
        shorter = unread_padding(padded)
        require_same(naive, check(shorter), inputs)
        assert text_of(unread_padding(shorter)) == text_of(shorter)
        assert text_of(laid_out) == moved
    assert text_of(naive) == before
    assert all(isinstance(node.attrs.get("padding", ""), str) for node in padded.nodes)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_float_interface_changes_no_integer(name: str) -> None:
    graph = integer_graph(of(name))
    before, codes = text_of(graph), drawn(graph)
    outer = check(float_interface(graph))
    real = tuple(graph.values[each].dequantize(array) for each, array in zip(graph.inputs, codes, strict=True))
    expected, got = interpret(graph, codes, every=True), interpret(outer, real, every=True)
    for each in graph.running():
        np.testing.assert_array_equal(got[each], expected[each])
    for inner, outside in zip(graph.outputs, outer.outputs, strict=True):
        np.testing.assert_array_equal(got[outside], graph.values[inner].dequantize(expected[inner]))
        assert outer.view(outside) == graph.view(inner)
    assert text_of(graph) == before


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_smaller_weights_compute_what_their_rounded_numbers_would(name: str, kind: str) -> None:
    run, graph = WEIGHTS[kind], build(of(name), "float32")
    before, smaller = text_of(graph), check(run(graph))
    assert text_of(run(smaller)) == text_of(smaller)
    rounded = dict(graph.values)
    for each, value in smaller.constants().items():
        role = each.removesuffix(".half")
        rounded[role] = replace(rounded[role], data=value.dequantize(value.contents).astype(np.float32))
        if value.dtype != "float32":
            apart = np.abs(rounded[role].contents - graph.values[role].contents).max()
            assert (
                0
                < apart
                < (2.0**-11 if kind == "half_weights" else 0.51 / 127)
                * np.abs(value.contents).max()
                * (1 if value.qparams is None else max(value.qparams.scale))
            )
    inputs = drawn(graph)
    expected, got = interpret(replace(graph, values=rounded), inputs), interpret(smaller, inputs)
    for each in graph.outputs:
        np.testing.assert_array_equal(got[each], expected[each])
    assert text_of(graph) == before


@pytest.mark.parametrize("input_layout", ["nhwc", "nchw"])
def test_all_graphs_are_built_in_one_way(input_layout: Any) -> None:
    qat = of("conv, flatten, linear")
    integers, floats = (
        unread_padding(padding(layout(lower(qat, floats=each), input_layout))) for each in (False, True)
    )
    wanted = {
        ("int8", "int8"): integers,
        ("int8", "float32"): float_interface(integers),
        ("float32", "int8"): floats,
        ("float16", "int8"): half_weights(floats),
        ("dynamic_range", "int8"): dynamic_range(floats),
    }
    for (form, io), graph in wanted.items():
        assert text_of(build(qat, form, input_layout, io)) == text_of(graph)  # type: ignore[arg-type]
    assert text_of(integer_graph(qat, input_layout)) == text_of(integers)


def test_a_float_network_is_built_in_evaluation_and_left_as_it_was() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2)).train()
    x = torch.randn(1, 3)
    graph = float_graph(net, x, "float32")
    assert all(module.training for module in net.modules())
    assert [node.op for node in graph.nodes] == ["fully_connected", "fully_connected"]
    assert text_of(graph) == text_of(build(qtorch.prepare(net.eval(), x), "float32"))
