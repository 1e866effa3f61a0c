"""The TFLite Micro application of the projects, built and run: with stand-ins, and for real where TFLM_ROOT is set."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from export.boards import BOARDS
from export.c_language.names import c_identifier
from export.device import headers
from export.device.firmware_project import firmware_project
from export.device.layer_checks import layer_checks_header
from export.interface.tensor_layout import TensorLayout
from qtorch.features import Feature, Interface
from qtorch.numbers.qparams import QParams
from tests.tflm_projects import (
    STAND_IN,
    STRICT,
    VECTORS,
    build,
    bundle_files,
    in_qemu,
    require,
    run,
    table,
    write_project,
    wrong_table,
)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("name", ["m", "class"])
def test_host_self_test_passes_and_predicts(tmp_path: Path, compiler: str, name: str) -> None:
    program = build(write_project(tmp_path, "host", name), compiler=compiler)
    done = run(program, "--self-test")
    assert done.returncode == 0, done.stdout
    assert f"self-test of {c_identifier(name)}: 3 vectors, 0 of 3 codes differ: passed\n" in done.stdout
    assert "arena: 48 of 48 bytes used" in done.stdout
    assert re.search(r"time per inference: \d+ ns at best, \d+ ns on average", done.stdout)
    # Features a and b: codes 5 and -6 are vector 2, whose output code 3 is (3 + 4) / 4. What is not in the table comes
    # back: a saturates at 127, which is 32.75.
    done = run(program, given="2.25, 9.5\n1e9\t0\n")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-2:] == ["1.750000", "32.750000"]


def test_host_self_test_fails_on_one_wrong_code(tmp_path: Path) -> None:
    program = build(write_project(tmp_path, "host", model=wrong_table()))
    for arguments in (["--self-test"], []):
        done = run(program, *arguments, given="1 1\n")
        assert done.returncode == 1
        assert "1 of 3 codes differ: FAILED" in done.stdout
        assert "first difference: vector 2, output 0: expected 3, got 4" in done.stdout
        # A model that computes something else answers nothing.
        assert done.stdout.splitlines()[-1].startswith("arena:")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (table(VECTORS[1], arena=49), "arena: 48 bytes\nerror: m: AllocateTensors failed"),
        (table(VECTORS[1], version=2), "error: m: the model's schema version"),
        (table(np.zeros((3, 2), np.int8)), "error: m: expected int8 inputs and outputs of the exported sizes"),
    ],
)
def test_host_reports_what_tflite_micro_refuses(tmp_path: Path, model: bytes, message: str) -> None:
    done = run(build(write_project(tmp_path, "host", model=model)), "--self-test")
    assert done.returncode == 2
    assert message in done.stdout


@pytest.mark.parametrize("right", [True, False])
def test_several_inputs_and_outputs_stand_one_after_another(tmp_path: Path, right: bool) -> None:
    """Of each two, of one and of two codes; each has a grid of its own."""
    inputs, outputs = np.array([[1, 2, 3], [-4, 5, 6]], np.int8), np.array([[7, 8, 9], [10, -11, 12]], np.int8)
    grids = (QParams((0.5,), (0,)), QParams((2.0,), (1,)))
    layouts = tuple(
        TensorLayout(
            *(side, index, 2, "int8", grid.scale[0], grid.zero_point[0]),
            *((index + 1,), ("features",), (0,), (index + 1,)),
            quantities=(Feature("value"),),
        )
        for side in ("input", "output")
        for index, grid in enumerate(grids)
    )
    checks = np.array([[zlib.crc32(row.tobytes())] for row in outputs], np.uint32)
    table_outputs = outputs if right else outputs + np.array([[0, 0, 0], [0, 0, 1]], np.int8)
    texts = {
        **headers.model_data("m", table(table_outputs, version=3 + 64, inputs=inputs), layouts),
        "m_quantization.h": headers.quantization("m", Interface((), ()), grids, grids, layouts=layouts),
        "m_layer_checks.h": layer_checks_header("m", (["FULLY_CONNECTED"], checks)),
        "m_test_vectors.h": headers.test_vectors("m", inputs, outputs, inputs_of=(1, 2), outputs_of=(1, 2)),
    }
    files = bundle_files() | {file: text.encode() for file, text in texts.items()}
    program = build(write_project(tmp_path, "host", files=files, layouts=layouts))
    done = run(program, given="-2 8 10\n")
    if right:
        assert "2 vectors, 0 of 6 codes differ: passed\noperators: 1 in 4 inferences, 0 differ: passed" in done.stdout
        # Codes -4, 5 and 6 are vector 1, whose output codes are 10 and -11, 12.
        assert done.stdout.splitlines()[-1] == "5.000000 -24.000000 22.000000"
    else:
        assert "1 of 6 codes differ: FAILED\nfirst difference: vector 1, output 2: expected 12, got 13" in done.stdout
    readme = (tmp_path / "README.md").read_text()
    assert "(physical + M_TEST_INPUT_1_BEGIN)[i] = samples[i];" in readme


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("1 x 2 3", "error: expected 2 numbers, got something else after 1"),
        ("1", "error: expected 2 numbers, got the end of the input after 1"),
        ("1" * 60 + " 2", "error: expected 2 numbers, got something else after 0"),
    ],
)
def test_host_refuses_what_is_no_sample(tmp_path: Path, given: str, message: str) -> None:
    done = run(build(write_project(tmp_path, "host")), given=given)
    assert done.returncode == 2
    assert message in done.stdout


def test_host_knows_one_option(tmp_path: Path) -> None:
    done = run(build(write_project(tmp_path, "host")), "--help")
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_numbers_are_printed_as_they_are(tmp_path: Path) -> None:
    """Against Python's own digits, over the whole range of float32."""
    require("g++")
    project = write_project(tmp_path, "host")
    (project / "print.cpp").write_text(
        """\
#include <stdio.h>
#include "tflm_board.h"
#include "tflm_console.h"
namespace board {
void print(const char* text) { fputs(text, stdout); }
int read_char() { return getchar(); }
}  // namespace board
int main() {
  float value;
  while (fread(&value, sizeof value, 1, stdin) == 1) {
    console::print_real(value);
    board::print("\\n");
  }
  console::print_signed(INT64_MIN);
  board::print("\\n");
}
""",
        encoding="utf-8",
    )
    program = project / "print"
    done = run(
        "g++", *STRICT, f"-I{project}/src", "-o", program, project / "print.cpp", project / "src/tflm_console.cpp"
    )
    assert done.returncode == 0, done.stderr
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.normal(size=500) * 10.0 ** rng.integers(-40, 38, 500), [0, 1e-4, 9999999, 1e7, 3.4e38]]
    )
    values = np.concatenate([values.astype(np.float32), np.array([np.nan, np.inf, -np.inf], np.float32)])
    answer = subprocess.run([program], input=values.tobytes(), capture_output=True, check=True).stdout.decode().split()
    assert answer[-1] == str(-(2**63))
    for value, text in zip(values.tolist(), answer[:-1], strict=True):
        plain = 1e-4 <= abs(value) < 1e7 or value == 0 or not np.isfinite(value)
        assert ("e" in text) == (not plain)
        np.testing.assert_allclose(float(text), value, rtol=1.01e-6, atol=0.51e-6 if plain else 0)


@pytest.mark.parametrize(
    ("board", "platform", "standard"),
    [
        ("nano33ble", "arduino", "c++14"),
        ("pico", "arduino", "c++17"),
        ("bluepill", "arduino", "c++17"),
        ("esp32c3", "esp_idf", "c++17"),
        ("nucleo_f446re", "zephyr", "c++17"),
    ],
)
def test_other_frameworks_compile_test_and_predict(tmp_path: Path, board: str, platform: str, standard: str) -> None:
    """With stand-ins for the frameworks."""
    right = run(build(write_project(tmp_path / "right", board), platform, standard=standard), given="2.25 9.5\n")
    assert "0 of 3 codes differ: passed" in right.stdout
    assert right.stdout.splitlines()[-1] == "1.750000"
    assert "7000 ns at best, 7000 ns on average; 7 ticks at 1000000 Hz" in right.stdout
    wrong = write_project(tmp_path / "wrong", board, model=wrong_table())
    done = run(build(wrong, platform, standard=standard), given="2.25 9.5\n")
    assert "1 of 3 codes differ: FAILED" in done.stdout
    assert "1.750000" not in done.stdout


def test_on_a_battery_no_monitor_is_waited_for(tmp_path: Path) -> None:
    done = run(build(write_project(tmp_path, "nano33ble"), "arduino", defines=("-DNO_MONITOR",)))
    assert "0 of 3 codes differ: passed" in done.stdout


@pytest.mark.parametrize(("board", "program"), [("nano33ble", "examples/M/M.ino"), ("pico", "src/main.cpp")])
def test_a_program_of_ones_own_as_the_readme_has_it(tmp_path: Path, board: str, program: str) -> None:
    project = write_project(tmp_path, board)
    (own,) = re.findall(r"```cpp\n(.*?)```", (project / "README.md").read_text(), re.DOTALL)
    own = own.replace("  // Fill physical with", "  physical[0] = 2.25f, physical[1] = 9.5f;\n  // Fill physical with")
    own = own.replace("    // Use results.\n", '    printf("%.6f", double(results[0]));\n    exit(0);\n')
    (project / program).write_text(own)
    # It is itself alone: the self-test is not run.
    assert run(build(project, "arduino")).stdout == "1.750000"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Looks like TFLite Micro's source tree with its library built for the host and three Cortex-M."""
    root = tmp_path / "tflm"
    shutil.copytree(STAND_IN / "tensorflow", root / "tensorflow")
    downloads = root / "tensorflow/lite/micro/tools/make/downloads"
    for file in ("flatbuffers/include/flatbuffers/flatbuffers.h", "gemmlowp/fixedpoint/fixedpoint.h"):
        (downloads / file).parent.mkdir(parents=True)
        (downloads / file).touch()
    for folder in ("linux_x86_64", *(f"cortex_m_generic_cortex-{core}" for core in ("m3", "m33", "m55"))):
        library = root / "gen" / f"{folder}_default_gcc" / "lib" / "libtensorflow-microlite.a"
        library.parent.mkdir(parents=True)
        # An archive without members.
        library.write_bytes(b"!<arch>\n")
    return root


def cmake(project: Path, *options: object) -> subprocess.CompletedProcess[str]:
    require("cmake")
    return run(
        "cmake", "-G", "Unix Makefiles", "-S", project, "-B", project / "build", "-DWARNINGS_AS_ERRORS=ON", *options
    )


def test_cmake_without_tflm_says_what_to_do(tmp_path: Path, tree: Path) -> None:
    require("g++")
    project = write_project(tmp_path / "p", "host")

    def message(*options: str) -> str:
        shutil.rmtree(project / "build", ignore_errors=True)
        done = cmake(project, *options)
        assert done.returncode != 0
        return " ".join(done.stderr.split())

    said = message()
    assert "TFLM_ROOT: expected the source tree of TFLite Micro, got nothing" in said
    assert "make -f tensorflow/lite/micro/tools/make/Makefile microlite" in said
    assert "https://github.com/tensorflow/tflite-micro/blob/main/tensorflow/lite/micro/docs/" in said
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "micro_interpreter.h, which is not there" in message(f"-DTFLM_ROOT={empty}")
    twin = tree / "gen/linux_x86_64_release_gcc"
    shutil.copytree(tree / "gen/linux_x86_64_default_gcc", twin)
    assert "Remedy: choose with -DTFLM_LIBRARY=<file>" in message(f"-DTFLM_ROOT={tree}")
    shutil.rmtree(tree / "gen")
    said = message(f"-DTFLM_ROOT={tree}")
    assert "found none" in said
    assert "gen/linux_*/lib" in said.replace(" ", "")
    assert "not there" in message(f"-DTFLM_ROOT={tree}", "-DTFLM_LIBRARY=nothing.a")


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("board", ["host", "mps2_an385", "mps2_an505", "mps3_an547"])
def test_cmake_project_builds_and_ctest_judges(tmp_path: Path, tree: Path, board: str, right: bool) -> None:
    """The Cortex-M projects run in QEMU: start-up code, memory map, SysTick and semihosting are the real ones."""
    require("cmake", *(["g++"] if board == "host" else ["arm-none-eabi-g++", "qemu-system-arm"]))
    project = write_project(tmp_path / "p", board, model=None if right else wrong_table())
    done = cmake(project, f"-DTFLM_ROOT={tree}")
    assert done.returncode == 0, done.stderr
    done = run("cmake", "--build", project / "build")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("ctest", "--test-dir", project / "build", "-V")
    assert (done.returncode == 0) == right, done.stdout
    assert f"{0 if right else 1} of 3 codes differ" in done.stdout


@pytest.mark.parametrize(("given", "code"), [("2.25 9.5\n2.25,9.5", 0), ("2.25 9.5 2.25 9.5 1", 2)])
def test_cortex_m_answers_its_console(tmp_path: Path, tree: Path, given: str, code: int) -> None:
    require("cmake", "arm-none-eabi-g++", "qemu-system-arm")
    project = write_project(tmp_path / "p", "mps2_an386")
    done = cmake(project, f"-DTFLM_LIBRARY={next(tree.rglob('*.a'))}", f"-DTFLM_ROOT={tree}", "-DREAD_CONSOLE=ON")
    assert done.returncode == 0, done.stderr
    done = run("cmake", "--build", project / "build")
    assert done.returncode == 0, done.stdout + done.stderr
    done = in_qemu("mps2-an386", project / "build/m.elf", given)
    assert done.returncode == code
    answers = [line for line in (done.stdout + done.stderr).splitlines() if "." in line and ":" not in line]
    assert answers == ["1.750000", "1.750000"]


def test_cmake_sees_a_library_without_messages(tmp_path: Path, tree: Path) -> None:
    require("g++")
    project = write_project(tmp_path / "p", "host")
    assert "libtensorflow-microlite.a, without messages\n" in cmake(project, f"-DTFLM_ROOT={tree}").stdout
    assert "TF_LITE_STRIP_ERROR_STRINGS" in (project / "build/CMakeFiles/m.dir/flags.make").read_text()
    library = tree / "gen/linux_x86_64_default_gcc/lib/libtensorflow-microlite.a"
    library.write_bytes(b"!<arch>\n" + b"_Z11MicroPrintfPKcz\n")
    assert "libtensorflow-microlite.a\n" in cmake(project, f"-DTFLM_ROOT={tree}").stdout
    assert "TF_LITE_STRIP_ERROR_STRINGS" not in (project / "build/CMakeFiles/m.dir/flags.make").read_text()


@pytest.mark.parametrize("board", ["host", "mps2_an385", "mps2_an386", "mps2_an500", "mps2_an505", "mps3_an547"])
@pytest.mark.tflm
def test_with_the_real_tflite_micro(fuel_out: Path, tmp_path: Path, board: str) -> None:
    root = os.environ.get("TFLM_ROOT")
    if root is None:
        pytest.skip("TFLM_ROOT is not set; set it to TFLite Micro's source tree with its library built for the board")
    built = "linux_*" if board == "host" else f"cortex_m_generic_{BOARDS[board].cpu}_*"
    if not list(Path(root).glob(f"gen/{built}/lib/libtensorflow-microlite.a")):
        pytest.skip(f"{root} has no library for {BOARDS[board].cpu}; build it as the project's README.md says")
    require("cmake", *(["g++"] if board == "host" else ["arm-none-eabi-g++", "qemu-system-arm"]))
    files = {path.name: path.read_bytes() for path in fuel_out.iterdir()}
    project = tmp_path / "p"
    for path, content in firmware_project("fuel", files, BOARDS[board]).items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_bytes(content)
    done = cmake(project, f"-DTFLM_ROOT={root}")
    assert done.returncode == 0, done.stderr
    done = run("cmake", "--build", project / "build")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("ctest", "--test-dir", project / "build", "-V")
    assert done.returncode == 0, done.stdout
    assert "codes differ: passed" in done.stdout
