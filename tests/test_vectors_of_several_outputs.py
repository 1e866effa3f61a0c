"""Test vectors, projects and sketches of files with several inputs, outputs, or samples in a batch: all codes count."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.boards import board
from export.c.compiled import c_compiler
from export.compiled_file.compiled import CompiledFile, compile_file
from export.compiled_file.request import Request
from export.engines import TFLM
from qtorch.editions.known import edition
from qtorch.errors import BadConfiguration
from tests.schema_file import SchemaFile
from tests.test_tflm_application import cmake
from tests.tflm_projects import STRICT, in_qemu, require, run

pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install tflite-micro")
pytestmark = pytest.mark.skipif(c_compiler() is None, reason="no C compiler")

RNG = np.random.default_rng(3)


def of_outputs(batch: int = 1, *, inputs: int = 1, codes: str = "int8") -> bytes:
    """Two fully connected layers side by side, of 2 and of 3 outputs."""
    file = SchemaFile()
    x = file.tensor([batch, 4], codes, 0.1, 0, name="x", end="input")
    both = x
    if inputs == 2:
        second = file.tensor([batch, 4], codes, 0.2, 0, name="w", end="input")
        both = file.tensor([batch, 4], codes, 0.2, 0)
        file.operator("ADD", [x, second], [both], "AddOptions", {}, 2)
    for number, width in enumerate((2, 3)):
        matrix = file.constant(RNG.integers(-127, 128, (width, 4)).astype(np.int8), 0.02)
        y = file.tensor([batch, width], codes, 0.2 + 0.1 * number, 0, name=f"y{number}", end="output")
        file.operator("FULLY_CONNECTED", [both, matrix, -1], [y], "FullyConnectedOptions", version=4)
    return file.written()


def compiled(model: bytes, target: str = "host", **others: Any) -> CompiledFile:
    request = Request("m", "m.tflite", board(target), edition(board(target).edition), samples=80, **others)
    return compile_file(model, request)


def vectors(text: str, side: str) -> np.ndarray:
    """The rows of a header."""
    rows = text.partition(f"m_test_{side}s[")[2].partition("};")[0].splitlines()[1:]
    return np.array([[int(code) for code in row.strip(" {},").split(", ")] for row in rows if row.strip()])


@pytest.mark.parametrize(("batch", "inputs"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_every_output_of_tflm_is_in_the_vectors(batch: int, inputs: int, tmp_path: Path) -> None:
    model = of_outputs(batch, inputs=inputs)
    made = compiled(model)
    text = made.files["m_test_vectors.h"].decode()
    given, expected = vectors(text, "input"), vectors(text, "output")
    assert {each.inputs for each in made.engines.values()} == {80}
    assert given.shape[1] == 4 * batch * inputs
    assert expected.shape[1] == 5 * batch
    taken = tuple(part.reshape(-1, 4).astype(np.int8) for part in np.split(given, inputs, 1))
    found = [array.reshape(len(given), -1) for array in TFLM.run(model, taken)]
    np.testing.assert_array_equal(np.concatenate(found, 1), expected)
    # The headers agree with each other, and with the C: one run after another, all codes.
    for file, content in made.files.items():
        (tmp_path / file).write_bytes(content)
    arguments = [f"m_test_inputs[i] + {4 * batch * each}" for each in range(inputs)]
    main = f"""\
#include <string.h>
#include "m_model.h"
#include "m_quantization.h"
#include "m_test_vectors.h"
static int8_t out[M_TEST_OUTPUT_SIZE];
static float real[M_OUTPUT_1_SIZE];
int main(void) {{
  for (int i = 0; i < M_TEST_COUNT; ++i) {{
    m_invoke({", ".join(arguments)}, out + M_TEST_OUTPUT_0_BEGIN, out + M_TEST_OUTPUT_1_BEGIN);
    if (memcmp(out, m_test_outputs[i], sizeof out) != 0) return 1;
  }}
  m_dequantize_output_1(out + M_TEST_OUTPUT_1_BEGIN, real);
  return M_OUTPUT_0_SIZE + M_OUTPUT_1_SIZE == M_TEST_OUTPUT_SIZE ? 0 : 2;
}}
"""
    (tmp_path / "main.c").write_text(main)
    compiler = c_compiler()
    assert compiler is not None
    program = [str(tmp_path / "program")]
    done = run(compiler, *STRICT, "-o", *program, tmp_path / "main.c", tmp_path / "m_model.c")
    assert done.returncode == 0, done.stderr
    assert subprocess.run(program, check=False).returncode == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_vectors_of_inputs_that_were_given_have_their_outputs(batch: int) -> None:
    """They stand first, whole samples with what the integers made of them, and drawn ones fill up."""
    model, codes = of_outputs(batch), RNG.integers(-128, 128, (5 * batch, 4)).astype(np.int8)
    request = Request("m", "m.tflite", board("host"), edition(board("host").edition), samples=80)
    text = compile_file(model, request, codes).files["m_test_vectors.h"].decode()
    given, expected = vectors(text, "input"), vectors(text, "output")
    np.testing.assert_array_equal(given[:5].reshape(codes.shape), codes)
    found = [array.reshape(len(given), -1) for array in TFLM.run(model, (given.reshape(-1, 4).astype(np.int8),))]
    np.testing.assert_array_equal(np.concatenate(found, 1), expected)


def write(folder: Path, made: CompiledFile) -> None:
    for path, content in made.firmware.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


#: What a sketch needs of Arduino's core.
_CORE = """\
#include <stdint.h>
#include <stdio.h>
#include <string.h>
struct Console {
  void begin(long) {}
  explicit operator bool() const { return true; }
  void print(const char* text) { printf("%s", text); }
  void print(char letter) { printf("%c", letter); }
  void print(int number) { printf("%d", number); }
  void print(unsigned number) { printf("%u", number); }
  void print(unsigned long number) { printf("%lu", number); }
  void println(const char* text) { printf("%s\\n", text); }
};
static Console Serial;
static unsigned long millis() { return 0; }
static unsigned long micros() { return 0; }
"""


@pytest.mark.parametrize("inputs", [1, 2])
def test_the_sketch_in_plain_c_compares_all_outputs(inputs: int, tmp_path: Path) -> None:
    require("g++")
    model = of_outputs(inputs=inputs)
    write(tmp_path, compiled(model, "uno", firmware="c"))
    # The same sketch, beside C for this machine.
    (tmp_path / "src/m_model.c").write_bytes(compiled(model).files["m_model.c"])
    (tmp_path / "src/m_model.h").write_bytes(compiled(model).files["m_model.h"])
    assert "out_0[M_OUTPUT_0_SIZE], out_1[M_OUTPUT_1_SIZE];" in (tmp_path / "README.md").read_text()
    (sketch,) = tmp_path.rglob("*.ino")

    def said() -> str:
        (tmp_path / "main.cc").write_text(f"{_CORE}{sketch.read_text()}\nint main() {{ setup(); loop(); }}\n")
        objects = [tmp_path / "main.cc", "-x", "c", tmp_path / "src/m_model.c"]
        done = run("g++", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}/src", "-o", tmp_path / "program", *objects)
        assert done.returncode == 0, done.stderr
        return run(tmp_path / "program").stdout

    assert "32 of 32 vectors agree" in said()
    header = tmp_path / "src/m_test_vectors.h"
    # The very last code, which is of the last output.
    last = re.sub(r"(-?\d+)(\},\n\};\n\n#endif)", lambda found: f"{int(found[1]) ^ 1}{found[2]}", header.read_text())
    header.write_text(last)
    assert "31 of 32 vectors agree" in said()


def test_a_sketch_of_other_codes_is_refused() -> None:
    with pytest.raises(BadConfiguration, match=r"int8 inputs and outputs, got int16"):
        compiled(of_outputs(codes="int16"), "uno", firmware="c")


@pytest.fixture
def library() -> Path:
    """TFLite Micro, built for the processor of a board that QEMU emulates."""
    root = os.environ.get("TFLM_ROOT")
    found = sorted(Path(root or ".").glob("gen/cortex_m_generic_cortex-m3_*/lib/libtensorflow-microlite.a"))
    if not root or not found:
        pytest.skip("TFLM_ROOT is not set; set it to TFLite Micro's source tree with its library for Cortex-M3")
    require("cmake", "arm-none-eabi-g++", "qemu-system-arm")
    return found[-1]


def test_a_project_in_tflm_tests_and_answers_all_outputs(tmp_path: Path, library: Path) -> None:
    batch = 2
    model = of_outputs(batch)
    made = compiled(model, "mps2_an385", firmware="tflm")
    write(tmp_path, made)
    assert "(results + M_TEST_OUTPUT_1_BEGIN)[" in (tmp_path / "README.md").read_text()

    def built() -> str:
        root = os.environ["TFLM_ROOT"]
        done = cmake(tmp_path, f"-DTFLM_ROOT={root}", f"-DTFLM_LIBRARY={library}", "-DREAD_CONSOLE=ON")
        assert done.returncode == 0, done.stderr
        done = run("cmake", "--build", tmp_path / "build")
        assert done.returncode == 0, done.stdout + done.stderr
        values = " ".join(["1.5 -2 0.3 4"] * batch)
        done = in_qemu("mps2-an385", tmp_path / "build/m.elf", values)
        return done.stdout + done.stderr

    said = built()
    assert f"0 of {32 * 5 * batch} codes differ: passed" in said
    assert "operators: 2 in " in said
    assert " 0 differ: passed" in said
    (line,) = (each for each in said.splitlines() if "." in each and ":" not in each)
    codes = np.array([[15, -20, 3, 40]] * batch, np.int8)
    wanted = np.concatenate(
        [array.reshape(-1) * scale for array, scale in zip(TFLM.run(model, (codes,)), (0.2, 0.3), strict=True)]
    )
    np.testing.assert_allclose(np.array(line.split(), np.float64), wanted, atol=1e-5)
    header = tmp_path / "src/m_test_vectors.h"
    last = re.sub(r"(-?\d+)(\},\n\};\n\n#endif)", lambda found: f"{int(found[1]) ^ 1}{found[2]}", header.read_text())
    header.write_text(last)
    assert f"1 of {32 * 5 * batch} codes differ: FAILED" in built()
