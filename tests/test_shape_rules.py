"""What the rows say of shapes, held against their references and TFLite Micro."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from export.engines.tflm import tflm_available
from export.graph.interpret import widened
from export.graph.ir import MalformedGraph, check
from export.rows.samples import sample_graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import AccumulatorOverflow
from qtorch.numbers.fixedpoint import Rounding
from qtorch.ops import ROWS
from qtorch.row.row import Row, TFLite
from qtorch.row.shape_rule import BadShape
from tests.shape_drawing import Drawn, drawn_cases
from tests.tflm_apart import TflmApart

#: A filter bank's constants are places, which can't be drawn.
INTEGER = [name for name, row in ROWS.items() if name not in ("dequantize", "quantize", "signal_filter_bank")]


@pytest.fixture(scope="module")
def tflm() -> Iterator[TflmApart]:
    """In a process of its own."""
    if not tflm_available():
        pytest.skip("TFLite Micro does not run here")
    running = TflmApart()
    yield running
    running.close()


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_row_says_what_shapes_it_has_and_its_samples_have_them(row: Row) -> None:
    assert row.shapes is not None
    for sample in row.samples():
        graph = sample_graph(row, sample)
        (node,) = graph.nodes
        shapes = {role: graph.values[name].shape for role, name in node.input_roles().items()}
        assert row.shapes(node.attrs, shapes) == tuple(graph.values[name].shape for name in node.outputs)
        assert row.normalized(node.attrs, shapes) == node.attrs, sample.label


def accepted(drawn: Drawn) -> tuple[tuple[int, ...], ...] | None:
    """The outputs' shapes, where the rule takes the case and samples stay apart."""
    assert drawn.row.shapes is not None
    try:
        outputs = drawn.row.shapes(drawn.normalized, drawn.shapes)
        check(drawn.graph(outputs, drawn.codes(np.random.default_rng(0)), drawn.normalized))
    except (BadShape, MalformedGraph):
        return None
    return outputs


def cases(name: str, count: int) -> list[tuple[Drawn, tuple[tuple[int, ...], ...]]]:
    """Drawn ones that the row takes."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    found = [(drawn, accepted(drawn)) for drawn in drawn_cases(ROWS[name], rng, count)]
    return [(drawn, outputs) for drawn, outputs in found if outputs is not None]


def computed(drawn: Drawn, codes: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """By the row's reference."""
    grids = {role: grid.grid for role, grid in drawn.qparams.items() if grid is not None}
    tensors = {role: widened(array) for role, array in codes.items()}
    results = drawn.row.reference(drawn.normalized, tensors, grids, Rounding.DOUBLE)
    return tuple(each.numpy() for each in ((results,) if isinstance(results, torch.Tensor) else results))


@pytest.mark.parametrize("name", INTEGER)
def test_what_a_rule_takes_the_reference_computes_in_that_shape(name: str) -> None:
    taken = cases(name, 400)
    assert len(taken) > 20
    for drawn, outputs in taken:
        codes = drawn.codes(np.random.default_rng(1))
        try:
            results = computed(drawn, codes)
        except AccumulatorOverflow:
            continue
        assert tuple(array.shape for array in results) == outputs, (drawn.attrs, drawn.shapes)


@pytest.mark.parametrize("name", INTEGER)
def test_what_a_rule_takes_tflite_micro_computes_to_the_bit(name: str, tflm: TflmApart) -> None:
    """Attributes as files have them: axes and ends from behind, masks, sizes that are left open."""
    cell = ROWS[name].tflite
    if not isinstance(cell, TFLite):
        pytest.skip("no file has it")
    if cell.kept or any(state.always_carried for state in cell.states):
        pytest.skip("its state lives from one run to the next: tests/test_states.py")
    if name == "signal_energy":
        pytest.skip("its kernel leaves memory as it was outside of a range: tests/test_audio_front_end.py")
    compared = 0
    once = [case for case in cases(name, 150) if not set(ROWS[name].carried) & set(case[0].shapes)]
    if cell.vectors:
        once = [case for case in once if all(shape[0] == 1 for shape in case[1])]
    for drawn, outputs in once[:40]:
        codes = drawn.codes(np.random.default_rng(2))
        try:
            expected = computed(drawn, codes)
        except AccumulatorOverflow:
            continue
        file = write_tflite(drawn.graph(outputs, codes, drawn.attrs))
        (node,) = read_tflite(file).nodes
        assert drawn.row.frozen or dict(node.attrs) == dict(drawn.normalized)
        got = tflm(file, [codes[role] for role in drawn.shapes if role not in drawn.fixed])
        for mine, its in zip(expected, got, strict=True):
            assert np.array_equal(mine, its), (drawn.attrs, drawn.shapes)
            compared += mine.size
    assert compared > 20
