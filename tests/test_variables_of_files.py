"""Variables in files of other writers: resource variables and variable tensors, LSTM and SVDF, read and refused."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from export.c.compiled import run_c
from export.c.network import c_network
from export.c.source import c_source
from export.graph.ir import Graph, Node, State, check
from export.rows import sample_graph
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, Options, available
from firmware.emulation.build import compile_model
from qtorch.errors import BadModelFile, UnsupportedLayer
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from tests.streaming_checks import (
    RUNS,
    counter,
    edited,
    needs_compiler,
    needs_tflm,
    of_reference,
    of_tflm,
    require_equal,
)
from tests.streaming_graphs import runs


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
        (_no_handle, r"operator 1 \(READ_VARIABLE\): expected inputs that are ready before it"),
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


def test_a_variable_larger_than_memory_is_refused_by_its_operator() -> None:
    """What is filled in before the first run is one number, however often it stands there."""

    def edit(model: Any) -> None:
        states = [tensor for tensor in model.subgraphs[0].tensors if tensor.isVariable]
        states[0].shape = [1, 2**31 - 1]

    model = edited(lstm(1, 3, "int8"), edit)
    tracemalloc.start()
    try:
        with pytest.raises(BadModelFile, match="2147483647"):
            read_tflite(model, aligned=False)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def lstm(sequences: int, steps: int, dtype: str) -> Graph:
    """An LSTM that carries its states, of several sequences in a run."""
    row = ROWS["unidirectional_sequence_lstm"]
    label = f"carried{', int16' if dtype == 'int16' else ''}, clip, no float form, TFLM alone"
    graph = sample_graph(row, next(sample for sample in row.samples() if sample.label == label))
    values = dict(graph.values)
    for name, value in values.items():
        if value.data is None:
            shape = (sequences, steps) if len(value.shape) == 3 else (sequences,)
            values[name] = replace(value, shape=(*shape, value.shape[-1]))
    states = tuple(replace(s, first=np.concatenate([s.first] * sequences)) for s in graph.states)
    return check(replace(graph, values=values, states=states))


@needs_tflm
@needs_compiler
@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize(("sequences", "steps"), [(1, 1), (3, 4), (2, 1)])
def test_an_lstm_of_several_sequences(sequences: int, steps: int, dtype: str) -> None:
    graph = lstm(sequences, steps, dtype)
    inputs = runs(graph, RUNS, 4)
    expected = of_reference(graph, inputs, 1)
    require_equal(of_tflm(write_tflite(graph), inputs, 1), expected)
    require_equal(run_c("lstm", c_source("lstm", c_network(graph)).files, graph, inputs), expected)
    assert len(np.unique(expected[0])) > 9


@pytest.mark.qemu
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_no_warning_of_a_state_that_is_carried(dtype: str, tmp_path: Path) -> None:
    """Where a layer is a function of its own, its compiler knows which pointers are 0, and what is written."""
    machine = MACHINES["cortex_m4"]
    if absent := available(machine):
        pytest.skip(absent)
    files = c_source("lstm", c_network(lstm(1, 3, dtype), machine.cpu)).files
    compile_model(machine, files, "lstm", tmp_path, Options())


def _time_first(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.operators[-1].builtinOptions.timeMajor = True
    for index in (*graph.inputs, *graph.outputs):
        count, steps, size = graph.tensors[index].shape
        graph.tensors[index].shape = [steps, count, size]


@needs_tflm
@needs_compiler
@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_an_lstm_with_time_first(dtype: str) -> None:
    model = edited(lstm(1, 5, dtype), _time_first)
    graph = read_tflite(model, aligned=False)
    assert graph.values[graph.inputs[0]].shape[:2] == (5, 1)
    inputs = runs(graph, RUNS, 4)
    expected = of_reference(graph, inputs, 1)
    require_equal(of_tflm(model, inputs, 1), expected)
    require_equal(run_c("lstm", c_source("lstm", c_network(graph)).files, graph, inputs), expected)


def test_several_sequences_with_time_first_are_refused() -> None:
    with pytest.raises(BadModelFile, match=r"with time as the first axis of \(5, 2, 4\); expected one sequence"):
        read_tflite(edited(lstm(2, 5, "int8"), _time_first), aligned=False)


def _cell_of_float(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.tensors[graph.operators[0].inputs[19]].quantization.scale = [0.001]


def _hidden_on_another_grid(model: Any) -> None:
    graph = model.subgraphs[0]
    hidden = graph.tensors[graph.operators[0].inputs[18]]
    hidden.quantization = schema.QuantizationParametersT()
    hidden.quantization.scale, hidden.quantization.zeroPoint = [0.25], [0]


def _no_states(model: Any) -> None:
    graph = model.subgraphs[0]
    inputs = list(graph.operators[0].inputs)
    inputs[18] = inputs[19] = -1
    graph.operators[0].inputs = inputs


def _too_few_inputs(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.operators[0].inputs = graph.operators[0].inputs[:20]


def _same_twice(model: Any) -> None:
    graph = model.subgraphs[0]
    inputs = list(graph.operators[0].inputs)
    inputs[19] = inputs[18]
    graph.operators[0].inputs = inputs


def _with_contents(model: Any) -> None:
    graph = model.subgraphs[0]
    hidden = graph.tensors[graph.operators[0].inputs[18]]
    buffer = schema.BufferT()
    buffer.data = [4, 4]
    model.buffers.append(buffer)
    hidden.buffer = len(model.buffers) - 1


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_cell_of_float, "a cell state of int16 with scale 0.001"),
        (_hidden_on_another_grid, "a hidden state on another grid than the output"),
        (_no_states, "without a cell state"),
        (_too_few_inputs, "with 20 inputs; expected 24"),
        (_same_twice, "with the variable tensor 13 as two of its inputs"),
        (_with_contents, "with a buffer, which TFLM writes into the file's bytes"),
    ],
)
def test_states_of_an_lstm_that_its_kernel_reads_otherwise_are_refused(edit: Any, words: str) -> None:
    with pytest.raises(BadModelFile, match=words):
        read_tflite(edited(lstm(1, 1, "int8"), edit), aligned=False)


def svdf_pair() -> Graph:
    """Two SVDF one behind the other, of one sample's weights, that change one state in turn."""
    row = ROWS["svdf"]
    sample = next(sample for sample in row.samples() if sample.label.startswith("shared"))
    graph = sample_graph(row, sample)
    (node,), values = graph.nodes, dict(graph.values)
    values |= {"again": values["output"], "last_state": values["state"]}
    again = Node(node.op, node.attrs, ("output", *node.inputs[1:4], "next_state"), ("again", "last_state"))
    state = replace(graph.states[0], after="last_state")
    return check(replace(graph, values=values, nodes=(node, again), outputs=("again",), states=(state,)))


def _one_state(model: Any) -> None:
    """The second operator's state is the first's."""
    first, second = model.subgraphs[0].operators
    inputs = list(second.inputs)
    inputs[4] = first.inputs[4]
    second.inputs = inputs


@needs_tflm
@needs_compiler
def test_two_operators_that_change_one_variable_tensor() -> None:
    graph = svdf_pair()
    apart = replace(
        graph,
        values={**graph.values, "other": graph.values["state"]},
        nodes=(graph.nodes[0], replace(graph.nodes[1], inputs=(*graph.nodes[1].inputs[:4], "other"))),
        states=(
            replace(graph.states[0], after="next_state"),
            State("other", "last_state", graph.states[0].first),
        ),
    )
    model = edited(check(apart), _one_state)
    read = read_tflite(model, aligned=False)
    assert len(read.states) == 1
    inputs = runs(graph, RUNS, 6)
    expected = of_reference(graph, inputs, 1)
    require_equal(of_reference(read, inputs, 1), expected)
    require_equal(of_tflm(model, inputs, 1), expected)
    require_equal(run_c("pair", c_source("pair", c_network(read)).files, read, inputs), expected)
    with pytest.raises(UnsupportedLayer, match="which is used otherwise"):
        write_tflite(graph)


def svdf_beyond_int32() -> Graph:
    """A state and weights of 16 bits at their ends, whose sums over time int32 does not hold."""
    row = ROWS["svdf"]
    sample = next(sample for sample in row.samples() if sample.label.startswith("saturating"))
    graph = sample_graph(row, sample)
    time = np.random.default_rng(4).integers(-(2**15), 2**15, graph.values["weight_time"].shape).astype(np.int16)
    output = QParams((float(np.float32(100.0)),), (1,))
    values = {
        **graph.values,
        "weight_time": replace(graph.values["weight_time"], data=time),
        "output": replace(graph.values["output"], qparams=output),
    }
    return check(replace(graph, values=values))


@needs_tflm
@needs_compiler
def test_sums_over_time_wrap_around_as_those_of_tflite_micro() -> None:
    graph = svdf_beyond_int32()
    inputs = (np.random.default_rng(5).integers(-128, 128, (RUNS, 9)).astype(np.int8),)
    expected = of_reference(graph, inputs, 1)
    require_equal(of_tflm(write_tflite(graph), inputs, 1), expected)
    require_equal(run_c("wide", c_source("wide", c_network(graph)).files, graph, inputs), expected)
