"""Generated C, compiled under strict warnings and run: equal to the integer reference on every code."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from export.c.compiled import c_compiler, run_c
from export.c.network import c_network
from export.c.source import c_source
from export.graph.interpret import interpret
from export.graph.ir import Graph, Node, Value, check
from export.parity.outputs import corner_codes
from export.rows import CSample, c_library, c_samples, require_c
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS

needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")

#: Every reason for which a row's sample has no kernel in C.
WITHOUT_KERNEL = {
    ("dequantize", "its output is float32, and C models compute in integers alone"),
    ("quantize", "input is float32"),
}

#: Of these ops no sample has one.
WITHOUT_ANY = {"dequantize"}


@cache
def written(op: str) -> tuple[dict[str, CSample], set[tuple[str, str]]]:
    """A row's samples as C, by the names of their models, and why others have none."""
    cases, missing = c_samples(ROWS[op])
    return cases, {(op, why) for why in missing.values()}


def test_only_what_is_listed_has_no_kernel() -> None:
    missing = set().union(*(written(op)[1] for op in ROWS))
    assert missing == WITHOUT_KERNEL
    assert {op for op in ROWS if not written(op)[0]} == WITHOUT_ANY


@needs_compiler
@pytest.mark.parametrize("op", [op for op in ROWS if op not in WITHOUT_ANY])
def test_a_kernel_is_the_reference(op: str) -> None:
    cases = written(op)[0]
    assert require_c(ROWS[op], cases, c_library(cases)) > 0


def test_a_constant_number_makes_an_op_a_table() -> None:
    for op in ("add", "sub", "mul", "squared_difference", "prelu"):
        cases, _ = written(op)
        numbers = [case for case in cases.values()
                   if any(case.sample.arrays[role].size == 1 for role in case.sample.constants | {"weight"}
                          if role in case.sample.arrays) and case.sample.qparams["output"].dtype == "int8"]  # fmt: skip
        assert numbers, op
        assert all(case.kernels == ("lookup_s8",) for case in numbers), op


@needs_compiler
def test_a_constant_is_not_taken_for_an_argument() -> None:
    """The second input is called in_1; so would be what node 1 reads as its first operand."""
    grid = QParams((0.5,), (3,))
    values = {name: Value((1, 4), grid) for name in ("x", "y", "total", "result")}
    values["constant"] = Value((1, 4), grid, np.array([[10, -20, 30, -40]], np.int8))
    attrs = {"activation": "none"}
    nodes = (Node("add", attrs, ("x", "y"), ("total",)), Node("sub", attrs, ("constant", "total"), ("result",)))
    graph = check(Graph(values, nodes, ("x", "y"), ("result",)))
    codes = corner_codes(graph, 40)
    (got,) = run_c("two", c_source("two", c_network(graph)).files, graph, codes)
    np.testing.assert_array_equal(got, interpret(graph, codes)["result"])


@needs_compiler
def test_parts_of_a_split_go_where_they_are_wanted() -> None:
    """One part is an output, another is worked on, the third is nobody's."""
    grid = QParams((0.5,), (3,))
    values = {"x": Value((1, 6, 2), grid), **{name: Value((1, 2, 2), grid) for name in ("a", "b", "c", "total")}}
    nodes = (
        Node("split", {"axis": 1, "num_splits": 3}, ("x",), ("a", "b", "c")),
        Node("add", {"activation": "none"}, ("a", "b"), ("total",)),
    )
    graph = check(Graph(values, nodes, ("x",), ("b", "total")))
    codes = corner_codes(graph, 40)
    got = run_c("parts", c_source("parts", c_network(graph)).files, graph, codes)
    expected = interpret(graph, codes)
    for name, outcome in zip(graph.outputs, got, strict=True):
        np.testing.assert_array_equal(outcome, expected[name])
