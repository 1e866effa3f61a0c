"""The generated headers, compiled under strict warnings and run against QParams, equal to the last bit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.c_language.names import c_identifier
from export.device import headers
from qtorch.features import Feature, Interface
from qtorch.numbers.qparams import QParams

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wconversion"]
LANGUAGES = {
    "c99": ["gcc", "-x", "c", "-std=c99"],
    "c11": ["gcc", "-x", "c", "-std=c11"],
    "c++11": ["g++", "-x", "c++", "-std=c++11"],
    "c++17": ["g++", "-x", "c++", "-std=c++17"],
}
ODD_NAMES = ["class", "B0", "3-D model!", "", "größe"]

FAKE_RESOLVER = """\
#pragma once
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
namespace tflite {
template <unsigned int tOpCount>
class MicroMutableOpResolver {
 public:
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddTanh() { return Add(); }
  unsigned int count = 0;

 private:
  TfLiteStatus Add() { return count++ < tOpCount ? kTfLiteOk : kTfLiteError; }
};
}  // namespace tflite
"""

INTERFACE = Interface(
    inputs=(
        Feature("plain"),
        Feature("engine size", "L", offset=3.1601, span=1.3),
        Feature("engine size", "°C \\", offset=-40.0),
        Feature("input", "a\u202eb\n*/", span=1e-3),
    ),
    outputs=(
        Feature("plain"),
        Feature("fuel consumption", "L/100 km", offset=11.07, span=3.3333333),
        Feature("default", offset=-1.5),
        Feature("B0", span=0.1),
    ),
)
GRIDS = [
    QParams((0.5,), (3,)),
    QParams((float(np.float32(0.0235294122)),), (-128,)),
    QParams((float(np.float32(1 / 3)),), (127,)),
    QParams((float(np.finfo(np.float32).tiny),), (-1,)),
    QParams((float(np.finfo(np.float32).max),), (0,)),
    QParams((float(np.float32(0.01)),), (0,), "int16"),
]


def compile_program(folder: Path, language: str, main: str, *sources: str) -> Path:
    """Compiles ``main`` and ``sources`` of ``folder`` under strict warnings."""
    compiler, *options = LANGUAGES[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed; install it (Debian: apt-get install gcc g++) to run this test")
    (folder / "main.in").write_text(main, encoding="utf-8")
    program = folder / "program"
    done = subprocess.run(
        [compiler, *options, *STRICT, "-O2", "-I", ".", "-o", str(program), "main.in", *sources],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return program


def write(folder: Path, files: dict[str, str]) -> None:
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")


def run(program: Path, data: bytes = b"") -> bytes:
    done = subprocess.run([str(program)], input=data, capture_output=True)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout


def probes(grid: QParams) -> np.ndarray:
    """float32: ties of ``grid`` and their neighbours, extremes, infinities, values of every magnitude."""
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore"):
        ties = ((np.arange(-300, 300) + 0.5) * grid.scale[0]).astype(np.float32)
        around = np.concatenate([ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))])
    special = np.array(
        [0.0, -0.0, 0.49999997, -0.49999997, 1e-45, 3.4e38, -3.4e38, np.inf, -np.inf, 2.0**31], np.float32
    )
    spread = rng.normal(size=2000) * 10.0 ** rng.integers(-6, 7, 2000)
    near = rng.normal(size=2000) * min(grid.scale[0], 1e30) * 64
    return np.concatenate([around, special, spread.astype(np.float32), near.astype(np.float32)]).astype(np.float32)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid.dtype}-{grid.scale[0]:.3g}")
def test_quantization_equals_qparams(tmp_path: Path, language: str, grid: QParams) -> None:
    low, high = grid.code_range
    (tmp_path / "q.h").write_text(headers.quantization("class", INTERFACE, (grid,), (grid,)), encoding="utf-8")
    program = compile_program(
        tmp_path,
        language,
        """\
#include <stdio.h>
#include "q.h"
int main(void) {
  float physical[CLASS_MODEL_INPUT_FEATURES];
  CODE codes[CLASS_MODEL_INPUT_FEATURES];
  long code;
  int i;
  while (fread(physical, sizeof physical, 1, stdin) == 1) {
    class_model_quantize_input(physical, codes);
    if (codes[1] != class_model_quantize_engine_size(physical[1])) return 2;
    if (codes[2] != class_model_quantize_engine_size_2(physical[2])) return 3;
    fwrite(codes, sizeof codes, 1, stdout);
  }
  for (code = LOW; code <= HIGH; ++code) {
    for (i = 0; i < CLASS_MODEL_OUTPUT_FEATURES; ++i) codes[i] = (CODE)code;
    class_model_dequantize_output(codes, physical);
    if (physical[1] != class_model_dequantize_fuel_consumption((CODE)code)) return 4;
    fwrite(physical, sizeof physical, 1, stdout);
  }
  return 0;
}
""".replace("CODE", f"{grid.dtype}_t")
        .replace("LOW", str(low))
        .replace("HIGH", str(high)),
    )
    with np.errstate(over="ignore"):
        # Each column probes its own feature's ties: the network values' probes carried back into physical units.
        network = probes(grid).astype(np.float64)
        physical = np.stack([network * f.span + f.offset for f in INTERFACE.inputs], axis=1).astype(np.float32)
    physical = np.concatenate([physical, np.stack([probes(grid)] * 4, axis=1), np.full((1, 4), np.nan, np.float32)])
    answer = run(program, physical.tobytes())

    size = physical.size * np.dtype(grid.dtype).itemsize
    codes = np.frombuffer(answer[:size], grid.dtype).reshape(physical.shape)
    offsets, spans = np.array([(f.offset, f.span) for f in INTERFACE.inputs]).T
    with np.errstate(over="ignore"):
        seen = ((physical.astype(np.float64) - offsets) / spans).astype(np.float32)
        steps = seen / np.float32(grid.scale[0])
    finite = np.isfinite(steps)
    assert finite.sum() > steps.size / 4
    np.testing.assert_array_equal(codes[finite], grid.quantize(seen[finite]))
    # What no training sees, the header promises all the same: infinite quotients saturate, NaN gives the zero point.
    assert (codes[steps == np.inf] == high).all()
    assert (codes[steps == -np.inf] == low).all()
    assert (codes[np.isnan(steps)] == grid.zero_point[0]).all()
    assert np.isnan(steps[-1]).all()

    back = np.frombuffer(answer[size:], np.float32).reshape(-1, 4)
    offsets, spans = np.array([(f.offset, f.span) for f in INTERFACE.outputs]).T
    with np.errstate(over="ignore"):
        real = grid.dequantize(np.arange(low, high + 1))[:, None].astype(np.float64)
        expected = (real * spans + offsets).astype(np.float32)
    np.testing.assert_array_equal(back.view(np.int32), expected.view(np.int32))


@pytest.mark.parametrize("language", LANGUAGES)
def test_constants_reproduce_the_figures(tmp_path: Path, language: str) -> None:
    grids = (QParams((float(np.float32(0.1)),), (-7,)), QParams((float(np.float32(1e-20)),), (5,)))
    interface = Interface((Feature("a", offset=0.1, span=1 / 3),), ())
    (tmp_path / "q.h").write_text(headers.quantization("m", interface, grids, grids[:1]), encoding="utf-8")
    program = compile_program(
        tmp_path,
        language,
        """\
#include <stdio.h>
#include "q.h"
int main(void) {
  const double figures[] = {M_INPUT_0_SCALE, M_INPUT_1_SCALE, M_OUTPUT_SCALE, M_INPUT_0_ZERO_POINT,
                            M_INPUT_1_ZERO_POINT, M_INPUT_A_OFFSET, M_INPUT_A_SPAN};
  return fwrite(figures, sizeof figures, 1, stdout) == 1 ? 0 : 1;
}
""",
    )
    figures = np.frombuffer(run(program), np.float64).tolist()
    assert figures == [grids[0].scale[0], grids[1].scale[0], grids[0].scale[0], -7.0, 5.0, 0.1, 1 / 3]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ODD_NAMES)
def test_model_data_holds_the_bytes_aligned(tmp_path: Path, language: str, name: str) -> None:
    symbol = c_identifier(name)
    model = bytes(range(256)) + b"\0odd length"
    write(tmp_path, headers.model_data(name, model))
    program = compile_program(
        tmp_path,
        language,
        f"""\
#include <stdint.h>
#include <stdio.h>
#include "{symbol}_model_data.h"
int main(void) {{
  if ((uintptr_t){symbol}_model_data % 16 != 0) return 2;
  return fwrite({symbol}_model_data, {symbol}_model_data_len, 1, stdout) == 1 ? 0 : 1;
}}
""",
        f"{symbol}_model_data.cc",
    )
    assert run(program) == model


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ODD_NAMES)
def test_all_headers_together(tmp_path: Path, language: str, name: str) -> None:
    symbol, macro = c_identifier(name), c_identifier(name).upper()
    fake = tmp_path / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    fake.parent.mkdir(parents=True)
    fake.write_text(FAKE_RESOLVER, encoding="utf-8")
    inputs = np.array([[-128, 127], [0, 1], [5, -6]], np.int8)
    outputs = np.array([[1], [-2], [3]], np.int8)
    write(tmp_path, headers.model_data(name, b"model"))
    write(
        tmp_path,
        {
            f"{symbol}_quantization.h": headers.quantization(name, INTERFACE, (GRIDS[0],), (GRIDS[1],)),
            f"{symbol}_op_resolver.h": headers.op_resolver(name, ("AddFullyConnected", "AddTanh", "AddTanh")),
            f"{symbol}_arena.h": headers.arena(name, 1601, 64, "0.dev1\\"),
            f"{symbol}_test_vectors.h": headers.test_vectors(name, inputs, outputs),
        },
    )
    # Twice, to see the guards work.
    includes = "".join(f'#include "{path.name}"\n' for path in sorted(tmp_path.glob("*.h"))) * 2
    program = compile_program(
        tmp_path,
        language,
        f"""\
{includes}
#include <stdio.h>
int main(void) {{
#ifdef __cplusplus
  tflite::MicroMutableOpResolver<{symbol}_op_count> resolver;
  if ({symbol}_register_ops(resolver) != kTfLiteOk || resolver.count != 2) return 2;
#endif
  if ({macro}_OP_COUNT != 2 || {macro}_ARENA_BYTES != 1616 || {macro}_TEST_COUNT != 3) return 3;
  fwrite({symbol}_test_inputs, sizeof {symbol}_test_inputs, 1, stdout);
  fwrite({symbol}_test_outputs, sizeof {symbol}_test_outputs, 1, stdout);
  return 0;
}}
""",
        f"{symbol}_model_data.cc",
    )
    assert run(program) == inputs.tobytes() + outputs.tobytes()


def test_whole_numbers_that_are_codes_are_said_to_be() -> None:
    """As a camera's bytes are; not where a feature's scaling lies between."""
    byte, words = QParams((1.0,), (-128,)), "code of a whole number from 0 to 255 is that number plus the zero point"
    assert words in headers.quantization("m", Interface((Feature("b"),), ()), (byte,), (GRIDS[0],))
    for feature, grid in ((Feature("b", span=255.0), byte), (Feature("b"), GRIDS[0])):
        assert "whole number from" not in headers.quantization("m", Interface((feature,), ()), (grid,), (GRIDS[0],))


def test_nothing_used_gives_no_warning(tmp_path: Path) -> None:
    (tmp_path / "v.h").write_text(headers.test_vectors("m", np.zeros((1, 1), np.int8), np.zeros((1, 1), np.int8)))
    (tmp_path / "q.h").write_text(headers.quantization("m", Interface((), ()), (GRIDS[0],), (GRIDS[0],)))
    main = '#include "v.h"\n#include "q.h"\nint main(void) { return 0; }\n'
    for language in LANGUAGES:
        run(compile_program(tmp_path, language, main))


def test_an_arena_without_figures_of_kernel_libraries_is_what_was_measured() -> None:
    text = headers.arena("m", 1616, 64, "1")
    assert "#define M_ARENA_BYTES 1616\n" in text
    assert "Optimized kernels" in text


def test_refusals() -> None:
    codes = np.zeros((2, 1), np.int8)
    with pytest.raises(ValueError, match="empty model"):
        headers.model_data("m", b"")
    with pytest.raises(ValueError, match="AddFullyConnected"):
        headers.op_resolver("m", ())
    with pytest.raises(ValueError, match="AddFullyConnected"):
        headers.op_resolver("m", ("Add();system",))
    with pytest.raises(ValueError, match="positive"):
        headers.arena("m", 0, 64, "1")
    with pytest.raises(ValueError, match=r"outputs: expected int8, int16 or int32 \[2, >= 1\]"):
        headers.test_vectors("m", codes, codes[:1])
    with pytest.raises(ValueError, match="got int64"):
        headers.test_vectors("m", codes.astype(np.int64), codes)
    with pytest.raises(ValueError, match="per tensor"):
        headers.quantization("m", INTERFACE, (QParams((0.5,), (0,), "int64"),), (GRIDS[0],))


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_feature_may_stand_for_a_whole_tensor(tmp_path: Path, language: str) -> None:
    interface = Interface((Feature("brightness", "", 0.0, 16.0),), (Feature("error"),))
    text = headers.quantization("m", interface, (GRIDS[0],), (GRIDS[1],), sizes=(6, 3))
    (tmp_path / "q.h").write_text(text, encoding="utf-8")
    program = compile_program(
        tmp_path,
        language,
        """\
#include <stdio.h>
#include "q.h"
int main(void) {
  float physical[M_INPUT_SIZE], back[M_OUTPUT_SIZE];
  int8_t codes[M_INPUT_SIZE];
  if (fread(physical, sizeof physical, 1, stdin) != 1) return 2;
  m_quantize_input(physical, codes);
  m_dequantize_output(codes, back);
  fwrite(codes, sizeof codes, 1, stdout);
  fwrite(back, sizeof back, 1, stdout);
  return 0;
}
""",
    )
    physical = np.array([0, 1, 2.5, -3, 16, 9], np.float32)
    answer = run(program, physical.tobytes())
    codes = np.frombuffer(answer[:6], np.int8)
    np.testing.assert_array_equal(codes, GRIDS[0].quantize((physical.astype(np.float64) / 16).astype(np.float32)))
    np.testing.assert_array_equal(np.frombuffer(answer[6:], np.float32), GRIDS[1].dequantize(codes[:3]))


def test_vectors_of_a_network_with_states_say_that_they_are_one_sequence() -> None:
    codes = np.zeros((2, 1), np.int8)
    assert "Reset it before the first" in headers.test_vectors("m", codes, codes, sequence=True)
    assert "Reset" not in headers.test_vectors("m", codes, codes)
