"""States, from one run to the next: interpreted, written, read back, run by TFLM and as compiled C, over sequences."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.c.compiled import c_compiler, run_c
from export.c.network import c_network
from export.c.source import c_source
from export.engines import TFLM
from export.graph.interpret import interpret, interpret_sequence
from export.graph.ir import Graph, MalformedGraph, Node, State, Value, check
from export.parity.outputs import compare_file, parity
from export.tflite.reader import read_tflite
from export.tflite.writer import nodes_of_operators, write_tflite
from qtorch.errors import BadModelFile, UnsupportedLayer
from qtorch.numbers.qparams import QParams
from tests.streaming_graphs import GRID, drawn, of_samples, runs, with_first

needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc (apt install gcc)")
needs_tflm = pytest.mark.skipif(bool(TFLM.absent()), reason="TFLite Micro's Python package is absent")

SEEDS = range(40)
#: Runs of a sequence, and how many sequences begin anew.
RUNS, SEQUENCES = 20, 3


def of_tflm(model: bytes, inputs: tuple[np.ndarray, ...], sequences: int) -> tuple[np.ndarray, ...]:
    """Outputs of an interpreter for each sequence, made for it."""
    cut = [np.split(array, sequences) for array in inputs]
    parts = [TFLM.run(model, each) for each in zip(*cut, strict=True)]
    return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))


def of_reference(graph: Graph, inputs: tuple[np.ndarray, ...], sequences: int = SEQUENCES) -> tuple[np.ndarray, ...]:
    computed = interpret_sequence(graph, inputs, sequences=sequences)
    return tuple(computed[name] for name in graph.outputs)


def require_equal(got: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_tflm
@pytest.mark.parametrize("seed", SEEDS)
def test_tflm_computes_what_the_reference_does(seed: int) -> None:
    graph = drawn(seed)
    model, inputs = write_tflite(graph), runs(graph, RUNS * SEQUENCES, seed)
    expected = of_reference(graph, inputs)
    require_equal(of_tflm(model, inputs, SEQUENCES), expected)
    read = read_tflite(model)
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
    parts = [run_c("streaming", files, graph, each) for each in zip(*cut, strict=True)]
    got = tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))
    require_equal(got, of_reference(graph, inputs))


@pytest.mark.parametrize(("label", "graph"), of_samples())
def test_carried_states_are_variable_tensors(label: str, graph: Graph) -> None:
    model = write_tflite(graph)
    names = [operator.name for operator in operators(model)]
    assert len(names) == 1
    assert not compare_file(graph, model).first
    assert [s.first.tolist() for s in read_tflite(model).states] == [s.first.tolist() for s in graph.states]


@pytest.mark.parametrize(("label", "graph"), of_samples())
@needs_compiler
def test_carried_states_begin_with_anything_in_c(label: str, graph: Graph) -> None:
    graph = with_first(graph, np.random.default_rng(3))
    inputs = runs(graph, RUNS, 1)
    files = c_source("streaming", c_network(graph)).files
    require_equal(run_c("streaming", files, graph, inputs), of_reference(graph, inputs, 1))
    with pytest.raises(UnsupportedLayer, match="reads and replaces, and that begin with zeros"):
        write_tflite(graph)


def operators(model: bytes) -> list[Any]:
    from export.tflite.contents import read_contents

    return list(read_contents(model).subgraphs[0].operators)


def counter(first: int = 5) -> Graph:
    """The sum of all inputs so far, saturating."""
    grid = QParams((1.0,), (0,))
    values = {name: Value((1, 1), grid) for name in ("x", "sum", "next")}
    nodes = (Node("add", {"activation": "none"}, ("x", "sum"), ("next",)),)
    return check(
        Graph(values, nodes, ("x",), ("next",), states=(State("sum", "next", np.full((1, 1), first, np.int8)),))
    )


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


def edited(graph: Graph, edit: Any) -> bytes:
    """A graph's file, changed by a function of its object form."""
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(write_tflite(graph))))
    edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _moved(begin: int, to: int) -> Any:
    def edit(model: Any) -> None:
        each = model.subgraphs[0].operators
        each.insert(to, each.pop(begin))

    return edit


def _without_call_once(model: Any) -> None:
    del model.subgraphs[0].operators[0], model.subgraphs[1]


def _read_again(model: Any) -> None:
    """The output is what a second READ_VARIABLE gives, behind ASSIGN_VARIABLE."""
    graph = model.subgraphs[0]
    read = graph.operators[2]
    again = schema.OperatorT()
    again.__dict__ |= read.__dict__
    graph.tensors.append(graph.tensors[read.outputs[0]])
    again.outputs = [len(graph.tensors) - 1]
    graph.operators.append(again)
    graph.outputs = again.outputs


@needs_tflm
@pytest.mark.parametrize("edit", [_without_call_once, _read_again])
def test_files_of_other_writers(edit: Any) -> None:
    model = edited(counter(), edit)
    graph = read_tflite(model, aligned=False)
    x = np.array([[1], [2], [3], [4]], np.int8)
    require_equal(of_tflm(model, (x,), 2), of_reference(graph, (x,), 2))


def _handle_as_input(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.operators[3].inputs = [graph.operators[1].outputs[0], graph.operators[3].inputs[1]]


def _never_assigned(model: Any) -> None:
    del model.subgraphs[0].operators[4]
    _without_call_once(model)


def _no_handle(model: Any) -> None:
    del model.subgraphs[0].operators[1]


def _once_is_late(model: Any) -> None:
    _moved(0, 4)(model)


def _once_of_itself(model: Any) -> None:
    model.subgraphs[0].operators[0].builtinOptions.initSubgraphIndex = 0


def _once_of_nothing(model: Any) -> None:
    model.subgraphs[0].operators[0].builtinOptions.initSubgraphIndex = 7


def _computes_at_once(model: Any) -> None:
    graph = model.subgraphs[1]
    graph.operators.append(model.subgraphs[0].operators[3])
    graph.tensors += model.subgraphs[0].tensors


def _of_another_shape(model: Any) -> None:
    graph = model.subgraphs[1]
    graph.tensors[1].shape = [1, 2]
    model.buffers[graph.tensors[1].buffer].data = [0, 0]


def _input_is_a_variable(model: Any) -> None:
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].isVariable = True


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_handle_as_input, r"operator 3 \(ADD\) on the handle of 'state_0'"),
        (_never_assigned, "variable 'state_0', which is read and never assigned"),
        (_no_handle, r"operator 1 \(READ_VARIABLE\) with a handle that no VAR_HANDLE makes"),
        (_once_is_late, r"\(CALL_ONCE\) behind operators that use variables"),
        (_once_of_itself, "CALL_ONCE. of subgraph 0 of 2"),
        (_once_of_nothing, "CALL_ONCE. of subgraph 7 of 2"),
        (_computes_at_once, r"expected VAR_HANDLE and ASSIGN_VARIABLE in subgraph 1, got operator 2 \(ADD\)"),
        (_of_another_shape, r"variable 'state_0': expected int8 \(1, 1\) before the first run, got int8 \(1, 2\)"),
        (_input_is_a_variable, "input tensor 0 is a variable"),
    ],
)
def test_variables_that_have_no_such_form_are_refused(edit: Any, words: str) -> None:
    with pytest.raises(BadModelFile, match=words):
        read_tflite(edited(counter(), edit), aligned=False)
