"""Kernels for Cortex-M55: equal to the integer reference, portable and sanitized on the host, and when emulated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export.c import kernels as c_kernels
from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.c.targets.table import KERNELS
from export.graph.interpret import interpret
from export.graph.ir import Graph, Node, Value, check
from export.rows import reference_outputs, runtime_arrays, sample_graph
from qtorch.families.convolution import weighted_sample
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Sample
from recipes.mlperf_tiny import DSCNN
from tests.c_programs import COMPILERS, STRICT, command, succeed
from tests.shared_programs import Case, failures
from tests.table_kernels import by_table, kernels_of, replayed_layer
from tests.test_cortex_m_kernels import _quantized

PLAIN = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none"}
SAME = {**PLAIN, "padding": "same"}
RELU = {**SAME, "activation": "relu"}
TWO = {**RELU, "stride_h": 2, "stride_w": 2}
CUT = {"output": (0.3, -128)}
#: Real multipliers above 1 in some channels, and below in others.
LARGE = {"output": (2e-4, 3)}
SIX = {"output": (0.0285, 36)}

_CONV, _SQUARE, _ROWS = "conv_2d_mve_s8", "depthwise_square_mve_s8", "depthwise_rows_mve_s8"
_SEQUENCE = "depthwise_sequence_mve_s8"

#: label: (attrs, image [N, H, W, C], weights [O, h, w, C] or [1, h, w, C], options of weighted_sample, the kernel)
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    "pointwise, 16": (RELU, (2, 3, 5, 16), (8, 1, 1, 16), CUT, "pointwise_mve_s8"),
    "pointwise, 64, three outputs": (SAME, (2, 3, 3, 64), (3, 1, 1, 64), {}, "pointwise_mve_s8"),
    "pointwise, 48, extreme": (SAME, (2, 3, 2, 48), (17, 1, 1, 48), {"extreme": True}, "pointwise_mve_s8"),
    "pointwise, stride": (TWO, (2, 5, 6, 32), (12, 1, 1, 32), CUT, "pointwise_mve_s8"),
    "pointwise, left too": (SAME, (2, 3, 3, 16), (8, 1, 1, 16), LARGE, "pointwise_mve_s8"),
    "pointwise, 1": (SAME, (2, 3, 5, 1), (4, 1, 1, 1), {}, _CONV),
    "pointwise, 3, one pixel": (PLAIN, (2, 1, 1, 3), (5, 1, 1, 3), {}, _CONV),
    "pointwise, 8": (RELU, (2, 4, 5, 8), (16, 1, 1, 8), CUT, _CONV),
    "pointwise, 17": (RELU, (2, 3, 3, 17), (31, 1, 1, 17), CUT, _CONV),
    "pointwise, 31, stride": (TWO, (2, 5, 5, 31), (1, 1, 1, 31), CUT, _CONV),
    "pointwise, 300": (SAME, (1, 2, 2, 300), (300, 1, 1, 300), {}, _CONV),
    "convolution, 1": (TWO, (2, 9, 6, 1), (8, 10, 4, 1), CUT, _CONV),
    "convolution, 3": (SAME, (2, 6, 5, 3), (12, 3, 3, 3), {}, _CONV),
    "convolution, 16": (RELU, (2, 5, 4, 16), (16, 3, 3, 16), CUT, _CONV),
    "convolution, 12, extreme": (SAME, (2, 4, 4, 12), (5, 3, 3, 12), {"extreme": True}, _CONV),
    "convolution, dilation": ({**SAME, "dilation_h": 2, "dilation_w": 3}, (2, 9, 9, 2), (3, 3, 3, 2), {}, _CONV),
    "convolution, saturating": (SAME, (2, 4, 4, 8), (3, 3, 3, 8), {"output": (1e-3, 3)}, _CONV),
    "convolution, tiny scales": (
        SAME, (2, 4, 4, 8), (3, 3, 3, 8), {"input": (1e-12, 3), "output": (1e-12, 3)}, _CONV
    ),
    "convolution, large bias": (SAME, (2, 4, 4, 2), (3, 1, 1, 2), {"bias": 2**29, "output": (4e3, 0)}, _CONV),
    "convolution, limits": (
        {**SAME, "activation": "relu6"}, (2, 4, 4, 5), (8, 2, 2, 5), {"output": (0.1, -100)}, _CONV
    ),
    "convolution, window beyond the image": (SAME, (2, 1, 2, 5), (6, 3, 5, 5), {}, _CONV),
    "convolution, groups": (SAME, (2, 5, 5, 6), (9, 3, 3, 2), {}, "conv_2d_s8"),
    "depthwise": (RELU, (2, 7, 5, 16), (1, 3, 3, 16), CUT, _SQUARE),
    "depthwise, one channel": ({**SAME, "depth_multiplier": 1}, (2, 4, 4, 1), (1, 3, 3, 1), {}, _SQUARE),
    "depthwise, 3": (SAME, (2, 2, 2, 3), (1, 3, 3, 3), {"extreme": True}, _SQUARE),
    "depthwise, 17": ({**SAME, "activation": "relu6"}, (2, 7, 8, 17), (1, 2, 2, 17), SIX, _SQUARE),
    "depthwise, 300": (RELU, (1, 4, 3, 300), (1, 3, 2, 300), CUT, _SQUARE),
    "depthwise, valid": ({**PLAIN, "activation": "relu"}, (2, 8, 5, 6), (1, 3, 2, 6), CUT, _SQUARE),
    "depthwise, left too": (SAME, (2, 4, 6, 20), (1, 3, 3, 20), LARGE, _SQUARE),
    "depthwise, stride": (TWO, (2, 9, 8, 6), (1, 3, 3, 6), {**CUT, "input": (0.05, -128)}, _ROWS),
    "depthwise, stride, wide": (TWO, (2, 7, 21, 33), (1, 3, 3, 33), CUT, _ROWS),
    "depthwise, stride 3": ({**RELU, "stride_h": 3}, (2, 10, 6, 40), (1, 4, 4, 40), CUT, _ROWS),
    "depthwise, one row": (SAME, (2, 1, 6, 4), (1, 3, 3, 4), {"extreme": True}, _ROWS),
    "depthwise, sequence": (RELU, (2, 23, 1, 20), (1, 5, 1, 20), CUT, _SEQUENCE),
    "depthwise, sequence, long window": (SAME, (2, 1, 14, 3), (1, 1, 13, 3), {}, _SEQUENCE),
    "depthwise, sequence, left too": ({**PLAIN}, (2, 9, 1, 16), (1, 4, 1, 16), LARGE, _SEQUENCE),
    "depthwise, wide window": (RELU, (2, 8, 8, 4), (1, 5, 4, 4), CUT, "depthwise_conv_2d_s8"),
}  # fmt: skip

BUILDS: tuple[Optimize, ...] = ("size", "speed")
#: Inputs and outputs.
DENSE = [(1, 9), (8, 128), (100, 16), (16, 11), (32, 8), (64, 12), (80, 31), (128, 128), (640, 20)]


#: The kernels that are tested.
VECTORS = [row.kernel for row in KERNELS if row.kernel.endswith("_mve_s8")]


def _sample(label: str) -> tuple[Graph, Sample, np.ndarray]:
    """One layer, its samples (the first of them as large as codes are), and the outputs that are right."""
    attrs, image, weights, options, _ = LAYERS[label]
    depthwise = label.startswith("depthwise")
    rng = np.random.default_rng(list(LAYERS).index(label))
    row = ROWS["depthwise_conv_2d" if depthwise else "conv_2d"]
    attrs = {"depth_multiplier": 1, **attrs} if depthwise else attrs
    sample = weighted_sample(rng, label, attrs, image, weights, channel_axis=3 if depthwise else 0, **options)
    sample.arrays["input"][0] = rng.choice(np.array([-128, 127], np.int8), image[1:])
    return sample_graph(row, sample), sample, reference_outputs(row, sample)[0]


def _cases(labels: Sequence[str]) -> dict[str, Case]:
    cases = {}
    for label in labels:
        graph, sample, expected = _sample(label)
        cases[label] = (by_table(graph, "cortex-m55", *VECTORS), (sample.arrays["input"],), (expected,))
    return cases


@pytest.mark.sweep
def test_portable_form_of_layers() -> None:
    cases = _cases([*LAYERS])
    kernels = {label: kernels_of(network) for label, (network, *_) in cases.items()}
    assert kernels == {label: {layer[4]} for label, layer in LAYERS.items()}
    assert failures("host_sanitized", cases) == {}


OPTIMIZATIONS = ("-O2", "-Os", "-O0", "-O3", "-Og")
#: Each layer at some optimization; at all of them with the sweeps.
SHARE = [pytest.param(len(OPTIMIZATIONS), id="in turn"), pytest.param(1, id="all", marks=pytest.mark.sweep)]


@pytest.mark.qemu
@pytest.mark.parametrize("every", SHARE)
@pytest.mark.parametrize("optimize", OPTIMIZATIONS)
def test_layers_on_a_cortex_m55(optimize: str, every: int) -> None:
    cases = _cases([*LAYERS][OPTIMIZATIONS.index(optimize) % every :: every])
    if optimize == "-O0":
        # gcc 12 comes to an end of itself at -O0 over the portable kernels' assembly.
        cases = {label: case for label, case in cases.items() if kernels_of(case[0]) & set(VECTORS)}
    assert failures("cortex_m55", cases, optimize) == {}


@pytest.mark.parametrize("machine", ["host_sanitized", pytest.param("cortex_m55", marks=pytest.mark.qemu)])
@pytest.mark.parametrize("sizes", DENSE)
def test_dense_layer(sizes: tuple[int, int], machine: str) -> None:
    rng = np.random.default_rng(sizes)
    attrs = {"activation": "none", "keep_num_dims": False}
    options = {"output": (2e-4, 3)} if sizes[1] == 12 else {"extreme": sizes[1] == 31}
    sample = weighted_sample(rng, "", attrs, (4, sizes[0]), (sizes[1], sizes[0]), channel_axis=0, **options)
    row = ROWS["fully_connected"]
    graph, expected = sample_graph(row, sample), reference_outputs(row, sample)[0]
    network = by_table(graph, "cortex-m55", *VECTORS)
    assert kernels_of(network) == {f"fully_connected_{'padded_' if sizes[0] % 16 else ''}mve_s8"}
    assert replayed_layer(machine, network, sample.arrays["input"], expected).first is None


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = torch.relu(self.first(x))
        return made + self.second(made)


@pytest.mark.parametrize("machine", ["host_sanitized", pytest.param("cortex_m55", marks=pytest.mark.qemu)])
def test_sums_inside_a_network(machine: str) -> None:
    """Of an odd number of codes."""
    torch.manual_seed(1)  # of its grids the short arithmetic is proven
    graph, codes = _quantized(_Residual(), (3, 5, 7))
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    network = c_network(graph, "cortex-m55")
    assert "add_short_mve_s8" in kernels_of(network)
    assert replayed_layer(machine, network, codes, expected).first is None


@pytest.mark.parametrize("machine", ["host_sanitized", pytest.param("cortex_m55", marks=pytest.mark.qemu)])
def test_rows_one_by_one(machine: str) -> None:
    """Rows that are there and rows that are missing are told at run time."""
    torch.manual_seed(0)
    graph, codes = _quantized(DSCNN(classes=5, channels=22), (1, 49, 10))
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    network = c_network(graph, "cortex-m55", optimize="ram")
    assert any(step.at_run_time and step.call.kernel.endswith("_mve_s8") for step in network.steps)
    assert replayed_layer(machine, network, codes, expected).first is None


@pytest.mark.qemu
def test_instructions_of_a_network() -> None:
    torch.manual_seed(0)
    graph, codes = _quantized(DSCNN(), (1, 49, 10))
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    for optimize in BUILDS:
        found = replayed_layer("cortex_m55", c_network(graph, "cortex-m55", optimize=optimize), codes, expected)
        assert found.first is None
        assert found.cost is not None
        assert found.cost.max < 0.28 * 2_656_768


def test_tables_grow_only_where_many_codes_gain() -> None:
    """Weights are not filled up where few instructions are saved for it, or none."""
    attrs = {"activation": "none", "keep_num_dims": False}
    kernels = {}
    for inputs, outputs in ((256, 2), (1, 24)):
        sample = weighted_sample(np.random.default_rng(0), "", attrs, (1, inputs), (outputs, inputs), channel_axis=0)
        graph = sample_graph(ROWS["fully_connected"], sample)
        kernels[outputs] = [kernels_of(c_network(graph, "cortex-m55", optimize=each)) for each in BUILDS]
    assert kernels == {
        2: [{"fully_connected_s8"}, {"fully_connected_s8"}],
        24: [{"fully_connected_s8"}, {"fully_connected_s8"}],
    }


@pytest.mark.parametrize("compiler", COMPILERS)
def test_portable_forms_compile_without_a_warning(compiler: str, tmp_path: Path) -> None:
    options = [option for option in command(COMPILERS[compiler]) if option != "c++"]
    for label in ("pointwise, 16", "convolution, 3", "depthwise", "depthwise, stride", "depthwise, sequence"):
        files = c_source("layer", c_network(_sample(label)[0], "cortex-m55")).files
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        language = ["-x", "c++"] if "++" in compiler else []
        plain = [option for option in options if option != "-x"]
        succeed([*plain, *language, *STRICT, "-O1", "-c", "layer_model.c"], tmp_path)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("mve_codes", "scaled -= scaled < 0", "scaled -= 0"),
        ("depthwise_mve", "weight += 5 - lane % 2 - lane / 2 * 4", "weight += 5 - lane % 2 * 4 - lane / 2"),
        ("conv_2d_mve_s8", "left <= widest", "left <= widest + 1"),
    ],
)
def test_a_wrong_kernel_is_found(file: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = c_kernels._source
    assert right in source(file)
    monkeypatch.setattr(c_kernels, "_source", lambda name: source(name).replace(right, wrong))
    found = []
    for label in ("convolution, 12, extreme", "depthwise", "convolution, 3"):
        graph, sample, expected = _sample(label)
        network = by_table(graph, "cortex-m55", *VECTORS)
        found.append(replayed_layer("host", network, sample.arrays["input"], expected).first)
    assert any(found)


@pytest.mark.parametrize("op", ["conv_2d", "depthwise_conv_2d", "fully_connected"])
def test_samples_of_the_rows(op: str) -> None:
    cases = {}
    for sample in ROWS[op].samples():
        graph = sample_graph(ROWS[op], sample)
        if {graph.values[name].array_dtype for name in (*graph.inputs, *graph.outputs)} == {"int8"}:
            network, codes = by_table(graph, "cortex-m55", *VECTORS), runtime_arrays(graph, sample)
            cases[f"{len(cases)}: {sample.label}"] = (network, codes, reference_outputs(ROWS[op], sample))
    assert len(cases) > 10
    assert failures("host", cases) == {}


@pytest.mark.qemu
@pytest.mark.parametrize("optimize", ["-O2", "-Os", "-O3"])
def test_lstm_four_units_at_a_time(optimize: str) -> None:
    cases, row = {}, ROWS["unidirectional_sequence_lstm"]
    for sample in row.samples():
        graph = sample_graph(row, sample)
        if graph.values[graph.outputs[0]].array_dtype == "int8" and "hidden" not in sample.arrays:
            codes = runtime_arrays(graph, sample)
            cases[sample.label] = (c_network(graph, "cortex-m55"), codes, reference_outputs(row, sample))
    assert len(cases) > 10
    assert failures("cortex_m55", cases, optimize) == {}


def sums(op: str, scales: Sequence[float], shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> Case:
    """A node of two int16 operands, of which the second may be a constant, with codes for it and what is right."""
    x, other, out = (QParams((float(np.float32(each)),), (0,), "int16") for each in scales)
    constant = rng.integers(-32768, 32768, shapes[1], dtype=np.int16) if len(shapes) > 2 else None
    shape = np.broadcast_shapes(*shapes[:2])
    values = {"x": Value(shapes[0], x), "y": Value(shapes[1], other, constant), "out": Value(shape, out)}
    node = Node(op, {"activation": "none"}, ("x", "y"), ("out",))
    graph = check(Graph(values, (node,), ("x", "y") if constant is None else ("x",), ("out",)))
    codes = tuple(rng.integers(-32768, 32768, (12, *values[n].shape[1:]), dtype=np.int16) for n in graph.inputs)
    return c_network(graph, "cortex-m55"), codes, [interpret(graph, codes)["out"]]


@pytest.mark.qemu
@pytest.mark.parametrize("optimize", ["-O2", "-O0"])
def test_sums_of_int16_in_vectors(optimize: str) -> None:
    """Rows, rows and one code, of every length; halves that are ties, one multiplier of no shift, or both."""
    rng, cases = np.random.default_rng(0), {}
    for op in ("add", "sub"):
        for scales in ((0.5, 0.5, 1.0), (0.25, 0.5, 1.0), (0.5, 0.25, 1.0), (0.1, 0.5, 0.7)):
            for shapes in (
                *(((1, n), (1, n)) for n in (4, 7, 13)),
                ((1, 3, 5), (1, 3, 1)), ((1, 3, 1), (1, 3, 9)), ((1, 2, 6), (1, 1, 6)), ((1, 6), (1, 6), ()),
            ):  # fmt: skip
                cases[f"{op} {scales} {shapes}"] = sums(op, scales, shapes, rng)
    assert failures("cortex_m55", cases, optimize) == {}
