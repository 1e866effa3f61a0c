"""What other forms cost, counted by hand and by TFLite Micro's own planner."""

from __future__ import annotations

import pytest
from torch import nn

from export.cost.form_price import FormPrice, price
from export.graph.build import integer_graph
from export.graph.passes.other_forms import OTHER_FORMS
from export.tflite.arena import smallest_arena
from export.tflite.contents import read_contents
from export.tflite.writer import write_tflite
from tests.form_drawing import DRAWN, draw
from tests.test_layout import prepared


def test_a_graph_costs_no_more_than_itself() -> None:
    graph = draw("convolution", 0)
    assert price(graph, graph) == FormPrice(0, 0, 0, 0)
    assert str(price(graph, graph)) == "no more ops, no more products, no more bytes of constants, " \
        "no more bytes of working memory"  # fmt: skip


def test_a_layer_as_a_convolution_costs_its_reshapes() -> None:
    """Tensors begin at multiples of 16 bytes: 5 codes and 20 behind them are 36, 20 and 20 behind them 52."""
    graph = integer_graph(prepared(nn.Linear(20, 5), 20))
    other = OTHER_FORMS["convolution"](graph, frozenset({graph.nodes[-1].output}))
    assert price(graph, other) == FormPrice(2, 0, 0, 52 - 36)
    assert str(price(graph, other)).startswith("2 more ops, no more products, no more bytes of constants, 16 more")


def test_padding_of_its_own_costs_the_padded_map() -> None:
    graph = integer_graph(prepared(nn.Conv2d(1, 1, 3, padding=1), 1, 4, 4))
    other = OTHER_FORMS["explicit_padding"](graph, frozenset({graph.nodes[-1].output}))
    # 16 and 16 codes before; a map of 36 beside either of them then.
    assert price(graph, other) == FormPrice(1, 0, 0, 52 - 32)


def test_zeros_between_pixels_are_multiplied() -> None:
    graph = integer_graph(prepared(nn.ConvTranspose2d(1, 1, 2, stride=2), 1, 3, 3))
    other = OTHER_FORMS["spread_input"](graph, frozenset({graph.nodes[-1].output}))
    assert price(graph, other).macs == 6 * 6 * 4 - 3 * 3 * 4
    assert price(other, graph).macs == -(6 * 6 * 4 - 3 * 3 * 4)


def _counted(file: bytes) -> tuple[int, int]:
    """Operators and tensors."""
    (graph,) = read_contents(file).subgraphs
    return len(graph.operators), len(graph.tensors)


@pytest.mark.tflm
@pytest.mark.parametrize("form", DRAWN)
def test_working_memory_is_near_what_the_interpreter_takes(form: str) -> None:
    """On top of the tensors come the interpreter's records of them and of ops, some hundred bytes each, and scratch.

    A file may have several operators, or one with another kernel and other constants, where the graph has one op.
    """
    graph = draw(form, 3)
    other = OTHER_FORMS[form](graph, frozenset({graph.nodes[-1].output}))
    files = [write_tflite(each) for each in (graph, other)]
    before, after = (smallest_arena(file) for file in files)
    beside = after - before - price(graph, other).arena_bytes
    (ops, tensors), (more_ops, more_tensors) = (_counted(file) for file in files)
    ops, tensors = more_ops - ops, more_tensors - tensors
    # Sizes are whole steps of sixteen bytes; another kernel, as ADD's for RELU's, keeps more or less of its own.
    own = 160 if [n.op for n in graph.nodes] != [n.op for n in other.nodes] else 0
    least, most = sorted((70 * ops, 400 * ops))
    assert least + min(0, 60 * tensors) - own <= beside <= most + max(0, 60 * tensors) + own + 16
