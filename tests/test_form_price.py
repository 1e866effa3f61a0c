"""What other forms cost in working memory, as it is said, and by TFLite Micro's own planner."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from export.arena.arena import arena_needed
from export.arena.figures import REFERENCE
from export.device import headers
from export.graph.ir import Graph
from export.graph.passes.other_forms import OTHER_FORMS
from export.tflite.arena import smallest_arena
from export.tflite.writer import tflite_cell, write_tflite
from firmware.emulation import Library, arena_probe, libraries
from firmware.emulation import smallest_arena as smallest_on_a_board
from tests.form_drawing import DRAWN, draw
from tests.tflm_projects import require


def both(form: str) -> tuple[Graph, Graph]:
    graph = draw(form, 3)
    return graph, OTHER_FORMS[form](graph, frozenset({graph.nodes[-1].output}))


def said(form: str) -> int:
    """Bytes more, as an export says them."""
    before, after = (arena_needed(write_tflite(graph), REFERENCE) for graph in both(form))
    return after - before


@pytest.mark.tflm
@pytest.mark.parametrize("form", DRAWN)
def test_working_memory_is_near_what_the_interpreter_takes(form: str) -> None:
    """Where pointers have 64 bits, structures of operators are up to twice as large, and tensors are not."""
    before, after = (smallest_arena(write_tflite(graph)) for graph in both(form))
    assert said(form) - 128 <= after - before <= max(2 * said(form), said(form) + 352)


def on_a_board(library: Library, graph: Graph) -> int:
    """Bytes that a real TFLite Micro sets the graph's file up in."""
    model = write_tflite(graph)
    methods = tuple(dict.fromkeys(m for node in graph.nodes for m in tflite_cell(node.op).registered(node.attrs)))
    sources = {**headers.model_data("net", model), "net_op_resolver.h": headers.op_resolver("net", methods)}
    ends = [graph.values[names[0]] for names in (graph.inputs, graph.outputs)]
    sizes = [each.elements * np.dtype(each.dtype).itemsize for each in ends]
    with arena_probe(library, sources, "net", (sizes[0], sizes[1])) as allocates:
        return smallest_on_a_board(allocates, "net", arena_needed(model, REFERENCE))


@pytest.mark.tflm
@pytest.mark.parametrize("form", ["room_between_taps", "explicit_padding", "eight_bits"])
def test_working_memory_is_what_a_board_takes(form: str) -> None:
    root = os.environ.get("TFLM_ROOT")
    found = [each for each in libraries(Path(root)) if each.kernels == "reference"] if root else []
    if not found:
        pytest.skip("TFLM_ROOT has no library for a Cortex-M; set it to TFLite Micro's source tree with one built")
    require("arm-none-eabi-g++", "qemu-system-arm")
    before, after = (on_a_board(found[0], graph) for graph in both(form))
    assert abs(after - before - said(form)) <= 96
