"""``qtorch compile`` of files that keep something from one run to the next: C and file written again, run by run."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main as export_main
from export.c.compiled import run_c
from export.engines import TFLM
from export.graph.ir import Graph
from export.graph.passes.foreign.simplified import simplified
from export.parity.outputs import compare_file
from export.tflite.contents import read_contents
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError
from tests.streaming_checks import counter, needs_compiler, needs_tflm, of_reference, require_equal
from tests.streaming_graphs import drawn, of_samples, runs, with_first
from tests.test_tflm_application import cmake
from tests.tflm_projects import in_qemu, require, run

#: Resource variables alone; variable tensors; several of either, one behind the other.
_GRAPHS = {
    "counter": counter(),
    "svdf": dict(of_samples())["svdf: plain, no float form, TFLM alone"],
    "drawn": drawn(6),
}


@needs_tflm
@needs_compiler
@pytest.mark.parametrize("name", _GRAPHS)
def test_a_file_with_states_is_written_again(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = _GRAPHS[name]
    model = write_tflite(graph)
    (tmp_path / "m.tflite").write_bytes(model)
    out = tmp_path / "out"
    words = ["compile", str(tmp_path / "m.tflite"), "--out", str(out), "--target", "nano33ble", "--samples", "20"]
    assert export_main([*words, "--tflite"]) == 0, capsys.readouterr().err
    again = (out / "m.tflite").read_bytes()
    inputs = runs(graph, 24, 1)
    wanted = TFLM.run(model, inputs)
    require_equal(TFLM.run(again, inputs), wanted)
    files = {path.name: path.read_text() for path in out.glob("m_model.[ch]")}
    require_equal(run_c("m", files, read_tflite(again), inputs), wanted)
    assert (out / "m_op_resolver.h").exists()
    assert (out / "m_test_vectors.h").exists()
    assert not (out / "m_layer_checks.h").exists()
    resolver = (out / "m_op_resolver.h").read_text()
    used = {operator.name for part in read_contents(again).subgraphs for operator in part.operators}
    for operator, method in (("VAR_HANDLE", "AddVarHandle"), ("CALL_ONCE", "AddCallOnce")):
        assert (f"resolver.{method}()" in resolver) == (operator in used)


def test_a_file_whose_states_begin_otherwise_is_another_file() -> None:
    graph, other = counter(5), counter(6)
    assert not compare_file(graph, write_tflite(graph)).value_mismatches
    with pytest.raises(ParityError, match="what state sum begins with"):
        compare_file(graph, write_tflite(other))


@pytest.mark.parametrize("seed", range(12))
def test_fewer_operators_leave_states_what_they_are(seed: int) -> None:
    graph: Graph = drawn(seed)
    inputs = runs(graph, 12, seed)
    require_equal(of_reference(simplified(graph), inputs, 2), of_reference(graph, inputs, 2))


@needs_tflm
@needs_compiler
def test_a_project_in_tflm_runs_the_sequence_twice_alike(tmp_path: Path) -> None:
    """States that begin with any codes, set by CALL_ONCE; on an emulated Cortex-M3 with the real TFLite Micro."""
    root = os.environ.get("TFLM_ROOT")
    found = sorted(Path(root or ".").glob("gen/cortex_m_generic_cortex-m3_*/lib/libtensorflow-microlite.a"))
    if not root or not found:
        pytest.skip("TFLM_ROOT is not set; set it to TFLite Micro's source tree with its library for Cortex-M3")
    require("cmake", "arm-none-eabi-g++", "qemu-system-arm")
    graph = with_first(drawn(2), np.random.default_rng(0))
    (tmp_path / "m.tflite").write_bytes(write_tflite(graph))
    words = ["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "out"), "--samples", "20"]
    assert export_main([*words, "--target", "mps2_an385", "--firmware", "tflm"]) == 0
    project = tmp_path / "out" / "firmware"

    def said() -> str:
        done = cmake(project, f"-DTFLM_ROOT={root}", f"-DTFLM_LIBRARY={found[-1]}", "-DREAD_CONSOLE=ON")
        assert done.returncode == 0, done.stderr
        done = run("cmake", "--build", project / "build")
        assert done.returncode == 0, done.stdout + done.stderr
        given = " ".join(["0.5"] * graph.values[graph.inputs[0]].elements)
        done = in_qemu("mps2-an385", project / "build/m.elf", given)
        return done.stdout + done.stderr

    answer = said()
    assert re.search(r"self-test of m: 20 vectors, 0 of \d+ codes differ: passed", answer)
    # The answer to the first sample of a new sequence: what the self-test left in the states is gone.
    value = graph.values[graph.inputs[0]]
    codes = value.quantize(np.full(value.shape, 0.5, np.float32))
    (first,) = TFLM.run(write_tflite(graph), (codes,))
    wanted = graph.values[graph.outputs[0]].dequantize(first).reshape(-1)
    numbers = [line.split() for line in answer.splitlines() if "." in line and ":" not in line]
    np.testing.assert_allclose(np.array(numbers[-1], np.float64), wanted, atol=1e-5)
    # Two of the expected outputs in each other's place.
    vectors = project / "src/m_test_vectors.h"
    rows = vectors.read_text().splitlines(keepends=True)
    begin = next(index for index, row in enumerate(rows) if "_test_outputs[" in row) + 1
    rows[begin], rows[begin + 1] = rows[begin + 1], rows[begin]
    vectors.write_text("".join(rows))
    assert "FAILED" in said()
