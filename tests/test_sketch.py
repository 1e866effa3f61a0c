"""A real Arduino sketch: Arduino's core, Arduino's flags, and what it says over Serial in simavr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.device.headers import test_vectors as vectors_header
from firmware.emulation import (
    MACHINES,
    DidNotBuild,
    DidNotEnd,
    EmulationFailure,
    Options,
    build_sketch,
    replay,
    run_sketch,
    sketch_available,
    sketch_size,
    sketch_source,
)
from tests.c_models import dense, dense_samples

pytestmark = pytest.mark.avr
INPUTS, EXPECTED = dense_samples(32)


def _sketch(folder: Path, expected: np.ndarray) -> Path:
    reason = sketch_available()
    if reason is not None:
        pytest.skip(reason)
    sources = dense() | {
        "dense_test_vectors.h": vectors_header("dense", INPUTS[: len(expected)], expected),
        "dense.ino": sketch_source("dense"),
    }
    for file, text in sources.items():
        (folder / file).write_text(text)
    return build_sketch(folder)


def test_sketch_says_the_expected_outputs(tmp_path: Path) -> None:
    elf = _sketch(tmp_path, EXPECTED)
    lines = run_sketch(elf).splitlines()
    assert lines[:32] == [f"{row}: {' '.join(str(code) for code in EXPECTED[row])}" for row in range(32)]
    assert lines[33:] == ["32 of 32 vectors agree"]
    # Both built for size; micros() takes some of the time, the timer's interrupts too, and link-time optimization
    # changes the code.
    cost = replay(MACHINES["atmega328p"], dense(), "dense", INPUTS, EXPECTED, Options(optimize=("-Os",))).cost
    assert cost is not None
    microseconds = int(lines[32].removesuffix(" microseconds per inference"))
    assert 0.75 < microseconds / (cost.median / 16) < 1.25
    # Vectors and weights lie in flash; what is left is Serial's and millis'.
    assert sketch_size(elf).ram < 300
    assert sketch_size(elf).flash > 32 * (4 + 3)


def test_sketch_says_which_vector_is_wrong(tmp_path: Path) -> None:
    wrong = EXPECTED[:8].copy()
    wrong[5, 1] ^= 1
    lines = run_sketch(_sketch(tmp_path, wrong)).splitlines()
    assert [line.endswith(" WRONG") for line in lines[:8]] == [row == 5 for row in range(8)]
    assert lines[-1] == "7 of 8 vectors agree"


def test_sketch_that_does_not_say_the_word(tmp_path: Path) -> None:
    elf = _sketch(tmp_path, EXPECTED[:2])
    with pytest.raises(DidNotEnd, match=r"a line with 'never said', got none in 16,000,000 cycles[\s\S]*2 of 2"):
        run_sketch(elf, "never said", cycles=16_000_000)


def test_sketch_that_ends_itself(tmp_path: Path) -> None:
    """GPIOR1 ends a program with an exit code."""
    if (reason := sketch_available()) is not None:
        pytest.skip(reason)
    (tmp_path / "end.ino").write_text("void setup() { GPIOR1 = 3; }\nvoid loop() {}\n")
    with pytest.raises(EmulationFailure, match=r"got exit code 3"):
        run_sketch(build_sketch(tmp_path))


def test_folder_without_a_sketch(tmp_path: Path) -> None:
    with pytest.raises(DidNotBuild, match=r"expected one .ino file, got \[\]"):
        build_sketch(tmp_path)
