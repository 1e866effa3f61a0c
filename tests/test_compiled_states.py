"""``qtorch compile`` of files that keep something from one run to the next: C and file written again, run by run."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.__main__ import main as export_main
from export.c.compiled import run_c
from export.engines import TFLM
from export.graph.ir import Graph
from export.graph.passes.foreign.simplified import simplified
from export.parity.outputs import compare_file
from export.tflite.reader import read_tflite
from export.tflite.writer import write_tflite
from qtorch.errors import ParityError
from tests.streaming_checks import counter, needs_compiler, needs_tflm, of_reference, require_equal
from tests.streaming_graphs import drawn, of_samples, runs

#: Resource variables alone; variable tensors; several of either, one behind the other.
_GRAPHS = {"counter": counter(), "svdf": of_samples()[0][1], "drawn": drawn(6)}


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
    assert export_main([*words, "--firmware", "tflm"]) == 2
    assert "keeps nothing from one run to the next, for a project" in " ".join(capsys.readouterr().err.split())


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
