"""Engines in a process of their own: what happens to them there is an answer, and they compute the same as here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

import qtorch
from export.__main__ import main as export_main
from export.engines import LITERT_DEFAULT, LITERT_REFERENCE, TFLM, Engine
from export.engines.apart import Apart, EngineRefused, Limits, apart, run_apart
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.parity.foreign import drawn, judged_by_tflm
from export.parity.outputs import corner_codes
from export.tflite.arena import NoArena, smallest_arena
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError
from tests.schema_file import SchemaFile
from tests.test_file_contents import repacked

pytestmark = pytest.mark.tflm


@pytest.fixture(scope="module")
def graph() -> Graph:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, groups=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(16, 3)]
    qat = qtorch.prepare(nn.Sequential(*layers, nn.Softmax(1)), torch.zeros(1, 1, 6, 6))
    qtorch.calibrate(qat, [torch.rand(50, 1, 6, 6)])
    return integer_graph(qat)


@pytest.fixture(scope="module")
def model(graph: Graph) -> bytes:
    return write_tflite(graph)


def changed(model: bytes, **fields: Any) -> bytes:
    """With other options of the operator that has such fields."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    for operator in root.subgraphs[0].operators:
        for name, value in fields.items():
            if name == "inputs":
                operator.inputs = value(operator)
            elif hasattr(operator.builtinOptions, name):
                setattr(operator.builtinOptions, name, value)
    return repacked(root)


@pytest.mark.parametrize("engine", [TFLM, LITERT_REFERENCE, LITERT_DEFAULT], ids=lambda each: each.name)
def test_it_computes_what_it_does_here(engine: Engine, graph: Graph, model: bytes) -> None:
    codes = corner_codes(graph, 300)
    for here, there in zip(engine.run(model, codes), apart(engine).run(model, codes), strict=True):
        assert np.array_equal(here, there)
    if engine is LITERT_DEFAULT:
        # XNNPACK leaves what lies between operators as it was.
        return
    few = tuple(array[:40] for array in codes)
    count = len(graph.values)
    both = [each.tensors(model, few, count) for each in (engine, apart(engine))]  # type: ignore[attr-defined]
    for here, there in zip(*both, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(here, there, strict=True))


def test_an_engine_of_somebody_else_runs_as_it_is(model: bytes) -> None:
    other = replace(TFLM, run=lambda model, inputs: ())
    assert apart(other) is other
    with pytest.raises(ValueError, match="no engine that runs in a process of its own"):
        Apart(other, model)


def test_an_abort_is_an_answer(graph: Graph, model: bytes) -> None:
    """SOFTMAX with a beta of 0 ends TFLite Micro's process, and did ours."""
    codes = corner_codes(graph, 1)
    with pytest.raises(EngineRefused, match=r"TFLite Micro ends the process on this file \(signal 6\)") as raised:
        run_apart(TFLM, changed(model, beta=0.0), codes, where="softmax.tflite")
    assert raised.value.kind == "ends"
    assert str(raised.value).startswith("softmax.tflite: TFLite Micro ends")
    with pytest.raises(EngineRefused, match="ends the process"):
        smallest_arena(changed(model, beta=0.0))


def test_what_it_refuses_is_said_in_its_words(graph: Graph, model: bytes) -> None:
    codes = corner_codes(graph, 1)
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model)))
    root.operatorCodes[0].builtinCode = schema.BuiltinOperator.CONV_3D
    root.operatorCodes[0].deprecatedBuiltinCode = 127
    with pytest.raises(EngineRefused, match=r"TFLite Micro refuses this file: .*CONV_3D") as raised:
        run_apart(TFLM, repacked(root), codes)
    assert raised.value.kind == "refuses"
    with pytest.raises(EngineRefused, match="CONV_3D"):
        smallest_arena(repacked(root))
    with pytest.raises(EngineRefused, match="LiteRT refuses this file"):
        run_apart(LITERT_REFERENCE, model[:400], codes)


def test_limits_of_time_and_memory(graph: Graph, model: bytes) -> None:
    codes = corner_codes(graph, 10)
    with pytest.raises(EngineRefused, match=r"took longer than 0.01 s") as raised:
        run_apart(TFLM, model, codes, limits=Limits(seconds=0.01))
    assert raised.value.kind == "time"
    with pytest.raises(EngineRefused, match=r"TFLite Micro needs more than 8 MiB of memory") as raised:
        run_apart(TFLM, model, codes, limits=Limits(memory=2**23))
    assert raised.value.kind == "memory"


def test_an_arena_that_is_too_small_is_told_apart() -> None:
    large = SchemaFile()
    shape = [1, 4096, 2048]
    ends = [large.tensor(shape, "int8", 0.5, end="input"), large.tensor(shape, "int8", 0.5, end="output")]
    between = large.tensor(shape, "int8", 0.5)
    large.operator("RELU", [ends[0]], [between])
    large.operator("RELU", [between], [ends[1]])
    with pytest.raises(NoArena, match=r"no arena up to 16777216 bytes") as raised:
        smallest_arena(large.written())
    assert isinstance(raised.value, MemoryError)
    assert raised.value.kind == "memory"


def counting() -> bytes:
    """Adds what it is given to a variable, and gives the sum."""
    file = SchemaFile()
    given = file.tensor([1, 1], "float32", end="input")
    handle = file.tensor([], "resource")
    before, after = file.tensor([1, 1], "float32"), file.tensor([1, 1], "float32", end="output")
    file.operator("VAR_HANDLE", [], [handle], "VarHandleOptions", {"container": b"", "sharedName": b"sum"})
    file.operator("READ_VARIABLE", [handle], [before], "ReadVariableOptions")
    file.operator("ADD", [given, before], [after], "AddOptions")
    file.operator("ASSIGN_VARIABLE", [handle, after], [], "AssignVariableOptions")
    return file.written()


@pytest.mark.parametrize("reset", ["never", "reset", "anew"])
def test_runs_in_sequence(reset: Any) -> None:
    given = np.arange(1, 6, dtype=np.float32).reshape(5, 1)
    expected = np.cumsum(given, 0) if reset == "never" else given
    (got,) = run_apart(TFLM, counting(), (given,), reset=reset)
    assert np.array_equal(got, expected)
    with Apart(TFLM, counting()) as interpreter:
        first = np.concatenate([interpreter.run((given[i : i + 1],), reset)[0] for i in range(5)])
    assert np.array_equal(first, expected)


def test_judged(graph: Graph, model: bytes) -> None:
    read = read_tflite(model, aligned=False)
    judged = judged_by_tflm(model, read, drawn(read, 9))
    assert (judged.engine, judged.samples) == ("tflm", len(drawn(read, 9)[0]))
    other = changed(model, fusedActivationFunction=schema.ActivationFunctionType.RELU)
    with pytest.raises(ParityError, match=r"net.tflite: TFLite Micro .* differs is operator 1, depthwise"):
        judged_by_tflm(other, read, drawn(read, 9), where="net.tflite")


@pytest.mark.parametrize("command", ["verify", "profile"])
def test_commands_survive_what_an_engine_does(
    command: str, model: bytes, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "softmax.tflite"
    path.write_bytes(changed(model, beta=0.0))
    code = export_main([command, str(path), *(["--machine", "cortex_m4"] if command == "profile" else [])])
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert code == (2 if command == "verify" else 0), shown
    assert "ends the process on this file" in (shown.err if command == "verify" else shown.out)
