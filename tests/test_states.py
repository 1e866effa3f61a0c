"""States, from one run to the next: interpreted, written, read back, run by TFLM and as compiled C, over sequences."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

from export.c.compiled import build_c, run_built, run_c
from export.c.network import c_network
from export.c.source import c_source
from export.graph import interpret as module
from export.graph.interpret import interpret, interpret_sequence
from export.graph.ir import Graph, MalformedGraph, Node, State, Value, check
from export.graph.parts import parts_of
from export.parity.outputs import compare_file, parity
from export.tflite.reader import read_tflite
from export.tflite.writer import nodes_of_operators, write_tflite
from qtorch.errors import UnsupportedLayer
from qtorch.numbers.qparams import QParams
from tests.streaming_checks import (
    RUNS,
    SEQUENCES,
    counter,
    needs_compiler,
    needs_tflm,
    of_reference,
    of_tflm,
    operators,
    require_equal,
)
from tests.streaming_graphs import GRID, drawn, of_samples, runs, with_first

SEEDS = range(40)


@needs_tflm
@pytest.mark.parametrize("seed", SEEDS)
def test_tflm_computes_what_the_reference_does(seed: int) -> None:
    graph = drawn(seed)
    model, inputs = write_tflite(graph), runs(graph, RUNS * SEQUENCES, seed)
    expected = of_reference(graph, inputs)
    require_equal(of_tflm(model, inputs, SEQUENCES), expected)
    read = read_tflite(model, aligned=False)
    require_equal(of_reference(read, inputs), expected)
    assert len(read.states) == len(
        [s for s in graph.states if any(s.value in (*n.inputs, *graph.sinks) for n in graph.nodes)]
    )


@needs_compiler
@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_c_computes_what_the_reference_does(seed: int) -> None:
    graph = drawn(seed)
    inputs = runs(graph, RUNS * SEQUENCES, seed)
    files = c_source("streaming", c_network(graph)).files
    cut = [np.split(array, SEQUENCES) for array in inputs]
    library = build_c({"streaming": (files, graph)})
    parts = [run_built(library, "streaming", graph, each) for each in zip(*cut, strict=True)]
    got = tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))
    require_equal(got, of_reference(graph, inputs))


@pytest.mark.parametrize(("label", "graph"), [each for each in of_samples() if not each[0].startswith("signal")])
def test_carried_states_are_variable_tensors(label: str, graph: Graph) -> None:
    model = write_tflite(graph)
    names = [operator.name for operator in operators(model)]
    assert len(names) == 1
    assert not compare_file(graph, model).first
    assert [s.first.tolist() for s in read_tflite(model, aligned=False).states] == [
        s.first.tolist() for s in graph.states
    ]


@pytest.mark.parametrize(("label", "graph"), of_samples())
@needs_compiler
def test_carried_states_begin_with_anything_in_c(label: str, graph: Graph) -> None:
    graph = with_first(graph, np.random.default_rng(3))
    inputs = runs(graph, RUNS, 1)
    files = c_source("streaming", c_network(graph)).files
    require_equal(run_c("streaming", files, graph, inputs), of_reference(graph, inputs, 1))
    with pytest.raises(UnsupportedLayer, match="reads and replaces, and that begin with zeros"):
        write_tflite(graph)


@needs_compiler
def test_a_copy_of_a_state_outlives_it_in_c() -> None:
    """A reshape moves nothing, but what it gives of a state is read after the state has been replaced."""
    grid = QParams((1.0,), (0,))
    values = {name: Value((1, 2), grid) for name in ("x", "sum", "next", "again", "y")}
    values["before"] = Value((1, 1, 2), grid)
    nodes = (
        Node("reshape", {"shape": (1, 1, 2)}, ("sum",), ("before",)),
        Node("add", {"activation": "none"}, ("x", "sum"), ("next",)),
        Node("reshape", {"shape": (1, 2)}, ("before",), ("again",)),
        Node("add", {"activation": "none"}, ("x", "again"), ("y",)),
    )
    first = np.array([[5, 7]], np.int8)
    graph = check(Graph(values, nodes, ("x",), ("y",), states=(State("sum", "next", first),)))
    inputs = (np.array([[1, 2], [3, 4], [-5, 6]], np.int8),)
    got = run_c("copied", c_source("copied", c_network(graph)).files, graph, inputs)
    require_equal(got, of_reference(graph, inputs, 1))


def test_samples_are_apart_and_runs_are_not() -> None:
    x = np.array([[1], [2], [3], [4]], np.int8)
    assert interpret(counter(), (x,))["next"].ravel().tolist() == [6, 7, 8, 9]
    assert interpret_sequence(counter(), (x,))["next"].ravel().tolist() == [6, 8, 11, 15]
    assert interpret_sequence(counter(), (x,), sequences=2)["next"].ravel().tolist() == [6, 8, 8, 12]
    with pytest.raises(ValueError, match="divides 4 runs, got 3"):
        interpret_sequence(counter(), (x,), sequences=3)


def test_every_tensor_of_a_sequence() -> None:
    x = np.array([[1], [2], [3], [4]], np.int8)
    every = interpret_sequence(counter(), (x,), every=True, sequences=2)
    assert every["sum"].ravel().tolist() == [5, 6, 5, 8]
    assert every["next"].ravel().tolist() == [6, 8, 8, 12]


@pytest.mark.parametrize("seed", range(6))
def test_sequences_side_by_side_are_sequences_alone(seed: int) -> None:
    graph = drawn(seed)
    inputs = runs(graph, 24, seed)
    alone = [of_reference(graph, tuple(np.split(a, 4)[i] for a in inputs), 1) for i in range(4)]
    require_equal(of_reference(graph, inputs, 4), tuple(map(np.concatenate, zip(*alone, strict=True))))


def test_parts_make_of_all_runs_what_the_whole_makes_run_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes around states take runs at once, a few at a time too; between them they take one after another."""
    monkeypatch.setattr(module, "_TOGETHER", 100)
    parts = 0
    for seed in SEEDS:
        graph = drawn(seed)
        inputs, cut = runs(graph, 24, seed), parts_of(graph)
        parts += len(cut) > 1
        assert [node for part in cut for node in part.nodes] == list(graph.nodes)
        assert sum(len(part.states) for part in cut) == len(graph.states)
        whole = interpret_sequence(graph, inputs, every=True, sequences=4)
        found = interpret_sequence(graph, inputs, sequences=4)
        require_equal(tuple(found.values()), tuple(whole[name] for name in graph.outputs))
    assert parts > len(SEEDS) // 4


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State("x", "next", np.zeros((1, 1), np.int8)), "a run-time tensor of its own"),
        (State("sum", "nothing", np.zeros((1, 1), np.int8)), "values of the graph"),
        (State("sum", "next", np.zeros((1, 2), np.int8)), "to start with, got int8"),
        (State("sum", "next", np.zeros((1, 1), np.int16)), "to start with, got int16"),
        (State("sum", "wide", np.zeros((1, 1), np.int8)), "after a run, got int8"),
    ],
)
def test_a_state_that_is_none_is_refused(state: State, words: str) -> None:
    graph = counter()
    values = {**graph.values, "wide": Value((1, 2), GRID, np.zeros((1, 2), np.int8))}
    with pytest.raises(MalformedGraph, match=words):
        check(replace(graph, values=values, states=(state,)))


@needs_tflm
def test_parity_is_over_a_sequence() -> None:
    graph = counter()
    x = np.arange(-20, 20, dtype=np.int8)[:, None]
    assert parity(graph, write_tflite(graph), (x,), reported=()).engines["tflm"].mismatches == 0
    other = counter(6)
    assert compare_file(graph, write_tflite(graph)).values == 1
    with pytest.raises(Exception, match="what state sum begins with"):
        parity(graph, write_tflite(other), (x,), reported=())


@needs_tflm
def test_what_a_reset_of_tflm_is() -> None:
    """It fills variables with zero points, and CALL_ONCE does not run again: no new interpreter."""
    from tflite_micro import runtime

    with contextlib.redirect_stdout(io.StringIO()):
        interpreter = runtime.Interpreter.from_bytes(write_tflite(counter()))
    outputs = []
    for run in range(4):
        if run == 2:
            interpreter.reset()
        interpreter.set_input(np.array([[1]], np.int8), 0)
        interpreter.invoke()
        outputs.append(int(interpreter.get_output(0)[0, 0]))
    assert outputs == [6, 7, 1, 2]


def test_operators_of_states_stand_for_no_node() -> None:
    model = write_tflite(counter())
    assert [o.name for o in operators(model)] == ["CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ADD", "ASSIGN_VARIABLE"]
    assert nodes_of_operators(counter()) == ("", "", "", "next", "")


def test_states_that_change_places_have_no_c() -> None:
    values = {name: Value((1, 1), GRID) for name in ("x", "y", "a", "b")}
    first = np.zeros((1, 1), np.int8)
    nodes = (Node("add", {"activation": "none"}, ("x", "a"), ("y",)),)
    graph = Graph(values, nodes, ("x",), ("y",), states=(State("a", "b", first), State("b", "a", first)))
    with pytest.raises(UnsupportedLayer, match="take each other's place"):
        c_network(check(graph))
