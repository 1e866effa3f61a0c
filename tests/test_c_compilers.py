"""Generated C under every compiler that is installed: strict warnings, C and C++, sanitizers, odd names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.network import c_network
from export.c.source import c_source
from export.c_language.names import c_identifier
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from export.rows import CSample, c_samples, reference_outputs, runtime_arrays
from qtorch.ops import ROWS
from recipes.mlperf_tiny import DSCNN, Autoencoder, MobileNetV1, ResNet8
from tests.c_programs import AVR, COMPILERS, SIMAVR, STRICT, avr_main, command, main_of, run_program, succeed, write
from tests.test_compiled_c import written
from tests.test_int32 import OPERATIONS, samples_of

NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "ds_cnn": (DSCNN, (1, 49, 10)),
    "mobilenet": (MobileNetV1, (3, 96, 96)),
    "resnet8": (ResNet8, (3, 32, 32)),
    "autoencoder": (Autoencoder, (640,)),
}
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


#: C of one compiler and C++ of the other always.
EITHER = [
    pytest.param(name, marks=[] if name in ("gcc, C99", "clang++, C++17") else [pytest.mark.sweep])
    for name in COMPILERS
]


@cache
def graph_of_network(name: str) -> Graph:
    """Untrained, calibrated on noise."""
    network, shape = NETWORKS[name]
    torch.manual_seed(0)
    x = torch.randn(8, *shape)
    qat = qtorch.prepare(network(), x[:1])
    qtorch.calibrate(qat, [x])
    return integer_graph(qat)


@cache
def source_of_network(name: str) -> Mapping[str, str]:
    return c_source(name, c_network(graph_of_network(name))).files


@cache
def a_case_of_each_kernel() -> dict[str, CSample]:
    """By a model's name: the first sample of each row with a kernel, or kinds of tensors for it, not seen before.

    Rows' own samples first, then those of whole numbers, which other writers' files alone have.
    """
    seen, chosen = set(), {}
    whole = [(op, c_samples(replace(ROWS[op], samples=partial(samples_of, op)))[0]) for op in OPERATIONS]
    for op, cases in [*((op, written(op)[0]) for op in ROWS), *whole]:
        for case in cases.values():
            kind = (op, case.kernels, case.graph.values[case.graph.outputs[0]].dtype, case.sample.constants)
            if kind not in seen:
                seen.add(kind)
                name = f"{op}_{len(chosen)}"
                chosen[name] = replace(case, files=c_source(name, c_network(case.graph)).files)
    return chosen


#: Compiled and run in test_row_by_row.py.
OF_ROWS = {"row_sums", "average_of_sums", "mean_of_sums", "copy"}

#: Compiled and run in test_avr_kernels.py, test_cortex_m_kernels.py, test_four_bits_in_c.py, test_mve_kernels.py,
#: test_small_core_kernels.py.
OF_ONE_PROCESSOR = {
    "add_short_mve_s8",
    "conv_2d_avr",
    "conv_2d_joined_s4",
    "conv_2d_joined_s8",
    "conv_2d_mve_s8",
    "conv_2d_pairs_s8",
    "conv_2d_s4",
    "conv_2d_unpacked_s8",
    "conv_2d_winograd_s8",
    "conv_2d_words_s8",
    "depthwise_conv_2d_avr",
    "depthwise_conv_2d_pairs_s8",
    "depthwise_conv_2d_planes_s8",
    "depthwise_rows_mve_s8",
    "depthwise_sequence_mve_s8",
    "depthwise_square_mve_s8",
    "fully_connected_avr",
    "fully_connected_joined_s4",
    "fully_connected_joined_s8",
    "fully_connected_mve_s8",
    "fully_connected_padded_mve_s8",
    "fully_connected_s4",
    "pointwise_avr",
    "pointwise_mve_s8",
    "pointwise_s4",
}


def test_every_kernel_is_there() -> None:
    """What is compiled below is all of the kernels."""
    folder = Path(__file__).parents[1] / "firmware" / "c"
    shared = {path.stem for path in folder.glob("*.h") if f" {path.stem}(" not in path.read_text()}
    used = {kernel for case in a_case_of_each_kernel().values() for kernel in case.kernels}
    assert {path.stem for path in folder.glob("*.h")} - used <= shared | OF_ONE_PROCESSOR | OF_ROWS


def test_a_name_stands_in_one_file() -> None:
    """Any kernels may be in a program together."""
    files = defaultdict[str, set[str]](set)
    for path in (Path(__file__).parents[1] / "firmware" / "c").glob("*.h"):
        text = path.read_text()
        names = re.findall(r"^(?:Q_\w+|static|typedef) [^(;={]*\b(q_\w+)\(", text, re.M)
        names += set(re.findall(r"^ *#define (\w+)", text, re.M)) - set(re.findall(r"^ *#undef (\w+)", text, re.M))
        for name in [*names, *re.findall(r"^} (q_\w+);", text, re.M)]:
            files[name].add(path.name)
    assert len(files) > 100
    assert {name: where for name, where in files.items() if len(where) > 1} == {}


@pytest.mark.parametrize("compiler", EITHER)
def test_kernels_compile_without_a_warning(compiler: str, tmp_path: Path) -> None:
    cases = a_case_of_each_kernel()
    files = write(tmp_path, {name: case.files for name, case in cases.items()}, main_of({}))
    succeed([*command(COMPILERS[compiler]), *STRICT, "-O1", "-c", *files[:-1]], tmp_path)


@pytest.fixture(scope="module")
def for_16_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cases compiled for an ATmega2560, whose int has 16 bits, without a warning."""
    folder = tmp_path_factory.mktemp("avr")
    files = write(folder, {name: case.files for name, case in a_case_of_each_kernel().items()}, "")
    succeed([*command(AVR), *STRICT, "-Os", "-c", *files[:-1]], folder)
    return folder


def test_kernels_compute_alike_with_16_bit_integers(for_16_bits: Path) -> None:
    """All compile for it; one sample of each case that its memory holds is computed in an emulated one."""
    compiler, emulator, folder = command(AVR), command(SIMAVR), for_16_bits
    assert {path.name.removesuffix("_model.o") for path in folder.glob("*.o")} == set(a_case_of_each_kernel())
    wrong, ran = [], 0
    for name, case in a_case_of_each_kernel().items():
        inputs = [array[:1] for array in runtime_arrays(case.graph, case.sample)]
        outputs = [array[:1] for array in reference_outputs(ROWS[case.graph.nodes[0].op], case.sample)]
        if sum(array.nbytes for array in inputs) + sum(array.size * 2 for array in outputs) > 3000:
            continue
        write(folder, {}, avr_main(name, case.graph, inputs, outputs))
        succeed([*compiler, "-Os", f"{name}_model.o", "main.c", "-o", f"{name}.elf"], folder)
        said = succeed([*emulator, f"{name}.elf"], folder, stderr_too=True)
        ran += 1
        if b"Y" not in said:
            wrong.append((name, case.sample.label, said))
    assert not wrong
    assert ran > 40


def test_kernels_stay_within_their_memory(tmp_path: Path) -> None:
    cases = a_case_of_each_kernel()
    files = write(
        tmp_path, {n: case.files for n, case in cases.items()}, main_of({n: case.graph for n, case in cases.items()})
    )
    compiler = command(COMPILERS["gcc, C99"])
    succeed([*compiler, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *files, "-o", "program"], tmp_path)
    for name, case in cases.items():
        inputs = [array[:20] for array in runtime_arrays(case.graph, case.sample)]
        got = run_program(tmp_path / "program", name, case.graph, inputs)
        for expected, outcome in zip(reference_outputs(ROWS[case.graph.nodes[0].op], case.sample), got, strict=True):
            np.testing.assert_array_equal(outcome, expected[:20], err_msg=f"{name}: {case.sample.label}")


#: MobileNet's kernels are those of DS-CNN, in a larger network, but for the softmax of a pair: it is compiled above.
_EACH = [pytest.param(name, marks=[pytest.mark.sweep] if name == "mobilenet" else []) for name in NETWORKS]


@pytest.mark.parametrize("compiler", EITHER)
@pytest.mark.parametrize("network", _EACH)
def test_networks_compile_without_a_warning(network: str, compiler: str, tmp_path: Path) -> None:
    files = write(tmp_path, {network: source_of_network(network)}, main_of({network: graph_of_network(network)}))
    succeed([*command(COMPILERS[compiler]), *STRICT, "-O2", "-c", *files], tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([name for name in NETWORKS if name != "mobilenet"], id="without the largest"),
        pytest.param([*NETWORKS], id="all", marks=pytest.mark.sweep),
    ],
)
def test_networks_side_by_side_stay_within_their_memory(names: list[str], tmp_path: Path) -> None:
    """In one program, sanitized; every output is the reference's."""
    graphs = {name: graph_of_network(name) for name in names}
    files = write(tmp_path, {name: source_of_network(name) for name in names}, main_of(graphs))
    succeed([*command(COMPILERS["gcc, C99"]), *SANITIZERS, *files, "-o", "program"], tmp_path)
    for name, graph in graphs.items():
        codes = tuple(array[-4:] for array in corner_codes(graph, 4))
        expected = interpret(graph, codes)
        (got,) = run_program(tmp_path / "program", name, graph, codes)
        np.testing.assert_array_equal(got, expected[graph.outputs[0]], err_msg=name)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_header_serves_two_translation_units(compiler: str, tmp_path: Path) -> None:
    """C sources, callers in C or C++: the header says extern "C"."""
    graph, files = graph_of_network("autoencoder"), source_of_network("autoencoder")
    write(tmp_path, {"autoencoder": files}, main_of({"autoencoder": graph}))
    other = '#include "autoencoder_model.h"\n#include "autoencoder_model.h"\nint size(void);\n' \
            "int size(void) { return AUTOENCODER_INPUT_SIZE; }\n"  # fmt: skip
    (tmp_path / "other.c").write_text(other)
    succeed([*command(COMPILERS["gcc, C99"]), "-O1", "-c", "autoencoder_model.c"], tmp_path)
    name, *options = command(COMPILERS[compiler])
    succeed([name, *options, *STRICT, "-c", "main.c", "other.c"], tmp_path)
    succeed([name, "autoencoder_model.o", "main.o", "other.o", "-o", "program"], tmp_path)
    codes = tuple(array[-4:] for array in corner_codes(graph, 4))
    (got,) = run_program(tmp_path / "program", "autoencoder", graph, codes)
    np.testing.assert_array_equal(got, interpret(graph, codes)[graph.outputs[0]])


@pytest.mark.parametrize("compiler", EITHER)
def test_odd_names_compile(compiler: str, tmp_path: Path) -> None:
    """Every file under its own name, all in one program."""
    names = ["class", "B0", "3-D model!", "", "größe", "int8_t", "add", "scratch", "in", "memcpy"]
    cell = written("add")[0]["case_0"]
    network = c_network(cell.graph)
    models = {c_identifier(name): c_source(name, network).files for name in names}
    assert len(models) == len(names)
    files = write(tmp_path, models, main_of(dict.fromkeys(models, cell.graph)))
    name, *options = command(COMPILERS[compiler])
    succeed([name, *options, *STRICT, "-O1", *files, "-o", "program"], tmp_path)
    inputs = runtime_arrays(cell.graph, cell.sample)
    for model in models:
        (got,) = run_program(tmp_path / "program", model, cell.graph, inputs)
        np.testing.assert_array_equal(got, reference_outputs(ROWS["add"], cell.sample)[0])
