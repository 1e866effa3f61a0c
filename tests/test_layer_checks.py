"""The self-test by operators: its checksums, what a device says of kernels that go wrong, and what it takes."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.emulated_networks import calibrated
from benchmarks.mlperf_networks import REFERENCES
from export.device.layer_checks import layer_checks, layer_checks_header
from export.engines import TFLM
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.tflite.writer import write_tflite
from tests import tflm_projects
from tests.tflm_projects import VECTORS, build, run, table, write_project, wrong_table


def ds_cnn() -> Graph:
    return calibrated(next(each for each in REFERENCES if each.label == "DS-CNN"))


@pytest.mark.tflm
def test_checksums_are_of_what_tflite_micro_gives() -> None:
    graph = ds_cnn()
    model, codes = write_tflite(graph), corner_codes(graph, 3)[0][-3:]
    operators, sums = layer_checks(model, graph, (codes,))
    assert (operators[0], operators[-1], sums.shape) == ("CONV_2D", "SOFTMAX", (3, len(operators)))
    assert sums.all()
    # Each sample, and each operator but for repetitions, has another.
    assert len(np.unique(sums[:, :-1])) == 3 * (len(operators) - 1)
    (outputs,) = TFLM.run(model, (codes,))
    assert sums[:, -1].tolist() == [zlib.crc32(sample.astype(np.int8).tobytes()) for sample in outputs]


def test_the_header_says_what_it_takes_and_refuses_what_checks_nothing() -> None:
    text = layer_checks_header("m", (["ADD", "MUL", "ADD"], np.array([[1, 2, 3], [0, 5, 6]], np.uint32)))
    assert "They take 43 bytes of flash" in text  # 6 checksums, 3 numbers, 2 names with their pointers
    assert "m_layer_kind[M_LAYER_COUNT] = {0, 1, 0};" in text
    assert "    {0x00000000u, 0x00000005u, 0x00000006u},\n" in text
    with pytest.raises(ValueError, match="of the last operator, got 0"):
        layer_checks_header("m", (["ADD"], np.zeros((1, 1), np.uint32)))
    with pytest.raises(ValueError, match=r"expected \[>= 1, 2\], got \[1, 1\]"):
        layer_checks_header("m", (["ADD", "MUL"], np.ones((1, 1), np.uint32)))


@pytest.mark.parametrize(
    ("model", "codes", "operators", "says"),
    [
        (None, "0 of 3 codes differ: passed", "1 in 6 inferences, 0 differ: passed", None),
        (wrong_table(), "1 of 3 codes differ: FAILED", "1 in 6 inferences, 2 differ: FAILED", "of vector 2: expected"),
        # The kernel fails and what calls it does not look: what it left is not taken for an output.
        (table(VECTORS[1], version=3 + 16), "FAILED", "6 differ: FAILED", "its output was not written"),
        (table(VECTORS[1], version=3 + 80), "FAILED", "1 differ: FAILED", "its kernel returned an error"),
        # Every vector is right the first time.
        (
            table(VECTORS[1], version=3 + 32),
            "0 of 3 codes differ: passed",
            "1 differ: FAILED",
            "right before other data",
        ),
    ],
)
def test_a_device_names_the_operator(
    tmp_path: Path, model: bytes | None, codes: str, operators: str, says: str | None
) -> None:
    done = run(build(write_project(tmp_path, "host", model=model)), "--self-test")
    assert done.returncode == (0 if not says else 2 if "an error" in says else 1)
    assert codes in done.stdout
    assert operators in done.stdout
    named = re.search("operator that (differs|failed): number 0, FULLY_CONNECTED, of vector [0-2]: ", done.stdout)
    assert (named is not None) == bool(says)
    assert (says or "passed") in done.stdout
    for said in ("see docs/which_tflm.md", "made for TFLite Micro's edition tflm: TFLite Micro's repository of"):
        assert (said in done.stdout) == bool(says)


def test_an_output_that_lies_on_its_input_is_not_spoilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a RESHAPE does by a plan in the file: to fill its output in advance would be to fill its input.
    outputs = VECTORS[0][:, :1].copy()
    checks = np.array([[zlib.crc32(row.tobytes())] for row in outputs], np.uint32)
    monkeypatch.setattr(tflm_projects, "VECTORS", (VECTORS[0], outputs))
    monkeypatch.setattr(tflm_projects, "CHECKS", checks)
    done = run(build(write_project(tmp_path, "host", model=table(outputs, version=3 + 48))), "--self-test")
    assert "0 of 3 codes differ: passed" in done.stdout
    assert "1 in 6 inferences, 0 differ: passed" in done.stdout
    assert done.returncode == 0


def test_it_says_what_it_was_compiled_with_and_can_be_left_out(tmp_path: Path) -> None:
    project = write_project(tmp_path, "host", model=wrong_table())
    said = run(build(project, defines=("-DCMSIS_NN", "-DNDEBUG")), "--self-test").stdout
    assert re.search(r"compiled with the macros: CMSIS_NN.* NDEBUG", said)
    (project / "src/m_layer_checks.h").unlink()
    done = run(build(project, defines=("-DSELF_TEST_WITHOUT_LAYERS",)), "--self-test")
    assert done.returncode == 1
    assert "1 of 3 codes differ: FAILED" in done.stdout
    assert "operator" not in done.stdout
