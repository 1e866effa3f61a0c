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
from firmware.emulation.__main__ import main as sketch_command
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
    with pytest.raises(DidNotBuild, match=r"expected one .ino file, .*, got \[\]"):
        build_sketch(tmp_path)


_LIBRARY = {
    "library.properties": "name=three\nincludes=three.h\n",
    "src/three.h": 'extern "C" int three(void);\n',
    "src/three.c": "int three(void) { return 3; }\n",
    "src/deep/same.cpp": "int one() { return 1; }\n",
    "examples/Say/same.cpp": "int two() { return 2; }\n",
    "examples/Say/Say.ino": "#include <three.h>\nint one();\nint two();\nvoid setup() {\n  Serial.begin(115200);\n"
    "  Serial.println(100 * three() + 10 * two() + one());\n}\nvoid loop() {}\n",
    "extras/not_compiled.c": "this is no C\n",
}


def _write(folder: Path, files: dict[str, str]) -> Path:
    if (reason := sketch_available()) is not None:
        pytest.skip(reason)
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize("given", [".", "examples/Say"])
def test_a_library_is_built_with_its_example(tmp_path: Path, given: str, capfd: pytest.CaptureFixture[str]) -> None:
    """By the command, which leaves the folder as it is."""
    library = _write(tmp_path, _LIBRARY)
    assert sketch_command([str(library / given), "--seconds", "0.1"]) == 0
    assert capfd.readouterr().out == "321\n"
    assert {path.relative_to(library).as_posix() for path in library.rglob("*") if path.is_file()} == _LIBRARY.keys()


def test_a_sketch_with_sources_of_its_own_below(tmp_path: Path) -> None:
    sketch = {file.removeprefix("examples/Say/"): text for file, text in _LIBRARY.items() if "properties" not in file}
    assert run_sketch(build_sketch(_write(tmp_path, sketch)), "321") == "321\n"


def test_which_sketch_is_not_guessed(tmp_path: Path) -> None:
    library = _write(tmp_path, {**_LIBRARY, "examples/Other/Other.ino": ""})
    with pytest.raises(DidNotBuild, match=r"got \['Other.ino', 'Say.ino'\]"):
        build_sketch(library)


def test_a_library_that_takes_another_is_refused(tmp_path: Path) -> None:
    library = _write(tmp_path, {**_LIBRARY, "library.properties": "name=three\ndepends=TensorFlow\n"})
    with pytest.raises(DidNotBuild, match=r"needs no other.*got depends=TensorFlow"):
        build_sketch(library)


def test_the_command_refuses_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, words in (
        (["nowhere"], "expected the folder of a sketch or of a library, got 'nowhere'"),
        ([str(tmp_path), "--seconds", "nan"], "expected more than 0 and at most 3600, got nan"),
    ):
        with pytest.raises(SystemExit) as ended:
            sketch_command(wrong)
        assert ended.value.code == 2
        assert words in capsys.readouterr().err
    monkeypatch.setattr("firmware.emulation.machines.Need.met", lambda need: need.package != "gcc-avr")
    assert sketch_command([str(tmp_path)]) == 2
    assert "apt-get install gcc-avr." in capsys.readouterr().err
    monkeypatch.setattr("firmware.emulation.machines.Need.met", lambda need: True)
    assert sketch_command([str(tmp_path)]) == 2
    assert "error: " in capsys.readouterr().err
