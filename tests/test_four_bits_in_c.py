"""Weights of 4 bits in plain C: two to a byte where that saves flash, and the same codes as TFLite Micro's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.compiled import c_compiler, run_c
from export.c.model import c_model
from export.c.network import CNetwork, c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.c.targets import halves
from export.engines import TFLM, tflm_available
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.rows import reference_outputs, sample_graph
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, Options, Replay, available, replay
from qtorch.families.convolution import weighted_sample
from qtorch.numbers.qparams import QParams
from qtorch.ops import ROWS
from qtorch.row.row import Sample
from tests.c_programs import COMPILERS, STRICT, command, main_of, run_program, succeed, write
from tests.conftest import in_turn
from tests.table_kernels import by_table, kernels_of

needs_compiler = pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc")

PLAIN = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "same", "activation": "none"}
PROCESSORS = ("cortex_m0", "cortex_m3", "cortex_m4", "cortex_m55", "riscv32", "atmega328p")

#: label: (row, image, weights, more attributes, bytes of weights that are left)
LAYERS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any], int]] = {
    **{
        f"dense, {inputs} inputs, {outputs} outputs": (
            "fully_connected", (3, inputs), (outputs, inputs), {}, (outputs // 2 + outputs % 2) * inputs
        )
        for inputs, outputs in ((128, 2), (131, 3), (130, 4), (67, 5), (129, 6), (47, 7), (97, 9), (61, 11))
    },
    "pointwise": ("conv_2d", (2, 3, 3, 21), (15, 1, 1, 21), {}, 8 * 21),
    "pointwise, stride": ("conv_2d", (2, 5, 4, 34), (10, 1, 1, 34), {"stride_h": 2, "stride_w": 2}, 5 * 34),
    "convolution": ("conv_2d", (2, 4, 5, 3), (14, 3, 3, 3), {"activation": "relu"}, 7 * 27),
    "convolution, odd": ("conv_2d", (2, 4, 4, 5), (13, 3, 3, 5), {}, 7 * 45),
    "convolution, groups": ("conv_2d", (2, 4, 4, 8), (14, 3, 3, 4), {}, 2 * 4 * 36),
    "convolution, groups of one": ("conv_2d", (2, 4, 4, 4), (4, 3, 3, 1), {}, 36),
    "depthwise": ("depthwise_conv_2d", (2, 3, 4, 58), (1, 3, 3, 58), {}, 29 * 9),
    "depthwise, odd": ("depthwise_conv_2d", (2, 3, 3, 61), (1, 3, 3, 61), {"stride_h": 2}, 31 * 9),
    "depthwise, three each": ("depthwise_conv_2d", (2, 3, 3, 21), (1, 3, 3, 63), {"depth_multiplier": 3}, 32 * 9),
    "depthwise, dilation": ("depthwise_conv_2d", (2, 6, 6, 60), (1, 3, 3, 60), {"dilation_h": 2}, 30 * 9),
    "depthwise, one channel": ("depthwise_conv_2d", (2, 5, 5, 1), (1, 4, 4, 17), {"depth_multiplier": 17}, 9 * 16),
}  # fmt: skip


def _layer(label: str) -> tuple[Graph, Sample, np.ndarray]:
    """One layer, samples of which the first is as large as codes are, and the outputs that are right."""
    op, image, kernel, more, _ = LAYERS[label]
    attrs: dict[str, Any] = {"activation": "none", "keep_num_dims": False} if op == "fully_connected" else PLAIN | more
    if op == "depthwise_conv_2d":
        attrs = {"depth_multiplier": 1} | attrs
    rng = np.random.default_rng(list(LAYERS).index(label))
    sample = weighted_sample(
        rng, label, attrs, image, kernel, channel_axis=3 if op == "depthwise_conv_2d" else 0, weights="int4",
        per_channel=op != "fully_connected", output=(0.1, -128 if "relu" in str(attrs["activation"]) else 4),
    )  # fmt: skip
    sample.arrays["weight"][rng.random(kernel) < 0.1] = -8  # which quantizers here leave out
    sample.arrays["input"][0] = rng.choice(np.array([-128, 127], np.int8), image[1:])
    return sample_graph(ROWS[op], sample), sample, reference_outputs(ROWS[op], sample)[0]


def _every_pair(op: str, channels: slice = slice(None)) -> tuple[Graph, Sample, np.ndarray]:
    """Two outputs of which every pair of weights occurs once, and inputs that show them one by one.

    By channel they are neighbours, of which some can be picked.
    """
    low, high = (grid.reshape(-1).astype(np.int8) for grid in np.meshgrid(np.arange(-8, 8), np.arange(-8, 8)))
    codes = np.diag(np.full(256, 15, np.int8)) - np.diag(np.full(255, 13, np.int8), 1)
    one, attrs = QParams((1.0,), (0,)), {**PLAIN, "padding": "valid"}
    arrays = {"input": codes, "weight": np.stack([low, high])}
    if op == "fully_connected":
        attrs = {"activation": "none", "keep_num_dims": False}
    elif op == "conv_2d":
        arrays = {"input": codes[:, None, None], "weight": arrays["weight"][:, None, None]}
    else:
        attrs["depth_multiplier"] = 1
        weights = arrays["weight"].T.reshape(1, 1, 1, 512)[..., channels]
        arrays = {"input": np.full(weights.shape, 15, np.int8), "weight": weights}
    weight = QParams((1.0,), (0,), "int4")
    sample = Sample("every pair", attrs, arrays, {"input": one, "weight": weight, "output": one})
    return sample_graph(ROWS[op], sample), sample, reference_outputs(ROWS[op], sample)[0]


def _replayed(
    machine: str, graph: Graph, sample: Sample, expected: np.ndarray, flags: tuple[str, ...] = (),
    network: CNetwork | None = None,
) -> Replay:  # fmt: skip
    if reason := available(MACHINES[machine]):
        pytest.skip(reason)
    inputs, outputs = (np.ascontiguousarray(a.reshape(len(a), -1), np.int8) for a in (sample.arrays["input"], expected))
    sources = c_source("layer", network or c_network(graph, MACHINES[machine].cpu)).files
    options = Options() if not flags else Options(optimize=flags)
    return replay(MACHINES[machine], sources, "layer", inputs, outputs, options)


@needs_compiler
@pytest.mark.parametrize("label", LAYERS)
def test_a_layer_is_exact_in_half_the_bytes(label: str) -> None:
    graph, sample, expected = _layer(label)
    source = c_source("layer", c_network(graph))
    assert f"[{LAYERS[label][4]}] Q_FLASH" in source.files["layer_model.c"]
    assert _replayed("host_sanitized", graph, sample, expected).first is None
    if tflm_available():
        np.testing.assert_array_equal(TFLM.run(write_tflite(graph), (sample.arrays["input"],))[0], expected)


@pytest.mark.qemu
@pytest.mark.parametrize(("label", "machine"), in_turn(LAYERS, PROCESSORS))
def test_a_layer_on_a_processor(label: str, machine: str) -> None:
    graph, sample, expected = _layer(label)
    ends = [graph.values[name].bytes for name in (*graph.inputs, *graph.outputs)]
    if machine == "atmega328p" and 2 * sum(ends) > 1600:
        pytest.skip("the model's memory and the rig's arrays are more than 2 KiB")
    assert _replayed(machine, graph, sample, expected).first is None


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("machine", "optimize"),
    # At -O0 this GCC itself fails at vectors of Cortex-M55.
    [
        *((machine, "-O0") for machine in ("cortex_m0", "cortex_m3", "cortex_m4", "riscv32")),
        *((machine, o) for machine in ("cortex_m4", "cortex_m55") for o in ("-O1", "-Os", "-O3")),
        *((machine, o) for machine in ("cortex_m0", "cortex_m3", "riscv32") for o in ("-Os", "-O3")),
    ],
)
def test_at_other_optimizations(machine: str, optimize: str) -> None:
    graph, sample, expected = _layer("dense, 47 inputs, 7 outputs")
    assert _replayed(machine, graph, sample, expected, (optimize,)).first is None


@pytest.mark.parametrize("op", ["fully_connected", "conv_2d", "depthwise_conv_2d"])
class TestEveryPair:
    """Two weights of 4 bits are 256 pairs."""

    @needs_compiler
    def test_here(self, op: str) -> None:
        graph, sample, expected = _every_pair(op)
        assert "[256] Q_FLASH" in c_source("layer", c_network(graph)).files["layer_model.c"]
        if op == "depthwise_conv_2d":
            np.testing.assert_array_equal(expected.reshape(-1), 15 * sample.arrays["weight"].reshape(-1))
        if tflm_available():
            np.testing.assert_array_equal(TFLM.run(write_tflite(graph), (sample.arrays["input"],))[0], expected)
        assert _replayed("host_sanitized", graph, sample, expected).first is None

    @pytest.mark.qemu
    @pytest.mark.parametrize("machine", [name for name in PROCESSORS if name != "atmega328p"])
    def test_on_a_processor(self, op: str, machine: str) -> None:
        assert _replayed(machine, *_every_pair(op)).first is None

    @pytest.mark.avr
    def test_on_avr(self, op: str) -> None:
        # What its memory holds: some of the samples, and half of the channels at a time.
        for part in (slice(256), slice(256, 512)) if op == "depthwise_conv_2d" else (slice(None),):
            graph, sample, expected = _every_pair(op, part)
            sample.arrays["input"], expected = sample.arrays["input"][::16], expected[::16]
            assert _replayed("atmega328p", graph, sample, expected).first is None


@pytest.mark.parametrize(
    "compiler", [pytest.param(name, marks=[pytest.mark.sweep] if "clang" in name else []) for name in COMPILERS]
)
@pytest.mark.parametrize("cpu", ["host", "cortex-m0"])
def test_small_counts_of_all_kinds(compiler: str, cpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it saves: one to nine inputs and outputs, channels and groups, each in memory of exactly its size.

    All of them sanitized; other compilers have every fourth, which is one of each kind.
    """
    orders = {kernel: (order, 0) for kernel, (order, _) in halves._ORDERS.items()}
    monkeypatch.setattr(halves, "_ORDERS", orders)
    monkeypatch.setattr(halves, "DENSE_CODE_BYTES", 0)
    cases = {}
    for op, image, kernel, more in (
        *(("fully_connected", (3, i), (o, i), {}) for i in (1, 4, 7) for o in range(1, 10)),
        *(("conv_2d", (3, 3, 2, 3), (o, 2, 2, 3), {}) for o in (1, 2, 3)),
        *(("conv_2d", (3, 3, 2, 6), (3 * o, 2, 2, 2), {}) for o in (1, 2, 3)),
        *(("depthwise_conv_2d", (3, 3, 4, c), (1, 3, 2, c), {}) for c in (2, 3, 4, 5)),
        *(("depthwise_conv_2d", (3, 3, 4, 2), (1, 3, 2, 2 * m), {"depth_multiplier": m}) for m in (2, 3)),
        *(("depthwise_conv_2d", (3, 3, 4, 3), (1, 3, 2, 3 * m), {"depth_multiplier": m}) for m in (2, 3)),
    ):
        name = f"m{len(cases)}"
        LAYERS[name] = (op, image, kernel, more, 0)
        cases[name] = _layer(name)
        del LAYERS[name]
    if compiler != "gcc, C99":
        cases = dict(list(cases.items())[::4])
    networks = {name: c_network(graph, cpu, "size") for name, (graph, _, _) in cases.items()}
    if cpu != "host":
        assert {"fully_connected_s4", "conv_2d_s4"} <= set().union(*map(kernels_of, networks.values()))
    sources = {name: c_source(name, network).files for name, network in networks.items()}
    files = write(tmp_path, sources, main_of({name: graph for name, (graph, _, _) in cases.items()}))
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all") if compiler == "gcc, C99" else ()
    line = (*command(COMPILERS[compiler]), *STRICT, *sanitizers)
    succeed([*line, *files, "-o", "program"], tmp_path)
    for name, (graph, sample, expected) in cases.items():
        (got,) = run_program(tmp_path / "program", name, graph, (sample.arrays["input"],))
        np.testing.assert_array_equal(got, expected, err_msg=name)


_BOTH = product(("cortex_m0", "cortex_m4", "cortex_m55", "riscv32"), ("size", "balanced"))
COUNTED = [*_BOTH, ("cortex_m3", "size"), ("cortex_m33", "balanced")]
WIDE = ("fully_connected", "pointwise", "conv_2d", "depthwise_conv_2d")
#: What reads them two to a byte, by processor, where flash is to be small.
CHOSEN = {
    **dict.fromkeys(("cortex_m0", "cortex_m3", "riscv32"), ("fully_connected_s4", "pointwise_s4", "conv_2d_s4", "")),
    "cortex_m55": ("fully_connected_mve_s8", "pointwise_mve_s8", "conv_2d_mve_s8", "depthwise_square_mve_s8"),
}


def _pairs_of_eight(op: str, least: int) -> tuple[Graph, Sample, np.ndarray]:
    """Eight outputs, of which neighbours, and those two apart, have every pair of weights; inputs show them each."""
    codes = np.arange(least, 8)
    low, high = (grid.reshape(-1).astype(np.int8) for grid in np.meshgrid(codes, codes))
    rows = np.stack([low, high, high, low, high, low, low, high])
    arrays = {"input": np.diag(np.full(low.size, 15, np.int8))[::8], "weight": rows}
    arrays["input"][:, ::7] -= 3
    return _eight_outputs(op, arrays, 4.5)


def _ends_of_eight(op: str, least: int) -> tuple[Graph, Sample, np.ndarray]:
    """Weights and inputs as large as they get, all of one sign: the largest sums."""
    rows = np.repeat(np.array([7, least, least, 7, 7, 7, least, least], np.int8)[:, None], 120, 1)
    inputs = np.repeat(np.array([-128, 127, -128, -128, 127, 127, 1, -1], np.int8)[:, None], 120, 1)
    return _eight_outputs(op, {"input": inputs, "weight": rows}, 1024.0)


def _eight_outputs(op: str, arrays: dict[str, np.ndarray], scale: float) -> tuple[Graph, Sample, np.ndarray]:
    attrs: dict[str, Any] = {"activation": "none", "keep_num_dims": False}
    if op == "conv_2d":
        inputs, weights = arrays["input"], arrays["weight"]
        images = inputs[: len(inputs) // 4 * 4].reshape(-1, 2, 2, inputs.shape[1])
        arrays, attrs = {"input": images, "weight": weights[:, None, None]}, {**PLAIN, "padding": "valid"}
    one, weight = QParams((1.0,), (0,)), QParams((1.0,), (0,), "int4")
    sample = Sample("eight", attrs, arrays, {"input": one, "weight": weight, "output": QParams((scale,), (0,))})
    return sample_graph(ROWS[op], sample), sample, reference_outputs(ROWS[op], sample)[0]


@pytest.mark.qemu
@pytest.mark.parametrize("least", [-8, -7])
@pytest.mark.parametrize("op", ["fully_connected", "conv_2d"])
@pytest.mark.parametrize("drawn", [_pairs_of_eight, _ends_of_eight], ids=["pairs", "ends"])
@pytest.mark.parametrize("machine", CHOSEN)
def test_eight_outputs(machine: str, drawn: Callable[[str, int], tuple[Any, ...]], op: str, least: int) -> None:
    """With -8 among them too, which vectors do not take above a negative weight."""
    graph, sample, expected = drawn(op, least)
    network = c_network(graph, MACHINES[machine].cpu, "speed" if machine == "cortex_m55" else "size")
    (kernel,) = kernels_of(network)
    if (machine, least) == ("cortex_m55", -8):
        assert "mve" not in kernel
    elif machine == "cortex_m55":
        assert kernel.endswith("_mve_s8")
    else:
        assert kernel in CHOSEN[machine]
    for each in (machine, "host_sanitized"):
        assert _replayed(each, graph, sample, expected, network=network).first is None


JOINED = ("fully_connected_joined_s4", "conv_2d_joined_s4")
OF_JOINED: dict[str, Callable[[], tuple[Graph, Sample, np.ndarray]]] = {
    **{x: partial(_layer, x) for x in [each for each in LAYERS if "depth" not in each and "groups" not in each][2:]},
    **{f"{op}, pairs": partial(_pairs_of_eight, op, -8) for op in ("fully_connected", "conv_2d")},
    **{f"{op}, ends": partial(_ends_of_eight, op, -8) for op in ("fully_connected", "conv_2d")},
}


@pytest.mark.parametrize(
    "machine", ["host_sanitized", *(pytest.param(name, marks=pytest.mark.qemu) for name in ("cortex_m4", "cortex_m33"))]
)
class TestFourWeightsInAHalfword:
    @pytest.mark.parametrize("label", OF_JOINED)
    def test_a_layer(self, machine: str, label: str) -> None:
        graph, sample, expected = OF_JOINED[label]()
        assert kernels_of(network := by_table(graph, "cortex-m4", *JOINED)) < set(JOINED)
        assert _replayed(machine, graph, sample, expected, network=network).first is None

    def test_the_largest_sums_that_fit(self, machine: str) -> None:
        """4096 times the sum of 511 products of -8 and -128 fits 32 bits, of 512 not: those have another kernel."""
        for inputs, fits in ((511, True), (512, False)):
            arrays = {"input": np.full((3, inputs), -128, np.int8), "weight": np.full((4, inputs), -8, np.int8)}
            graph, sample, expected = _eight_outputs("fully_connected", arrays, 8192.0)
            network = by_table(graph, "cortex-m4", *JOINED)
            assert (kernels_of(network) == {JOINED[0]}) is fits
            assert _replayed(machine, graph, sample, expected, network=network).first is None


def _wide_layer(op: str) -> tuple[Graph, Sample, np.ndarray]:
    """As networks have them, and no weight of -8."""
    image, kernel, window = {
        "fully_connected": ((3, 128), (64, 128), 0),
        "pointwise": ((2, 4, 4, 64), (64, 1, 1, 64), 1),
        "conv_2d": ((2, 4, 4, 16), (32, 3, 3, 16), 3),
        "depthwise_conv_2d": ((2, 5, 5, 64), (1, 3, 3, 64), 3),
    }[op]
    attrs: dict[str, Any] = PLAIN | {"activation": "relu"}
    if window == 0:
        attrs = {"activation": "relu", "keep_num_dims": False}
    elif op == "depthwise_conv_2d":
        attrs |= {"depth_multiplier": 1}
    row = ROWS["conv_2d" if op == "pointwise" else op]
    sample = weighted_sample(
        np.random.default_rng(0), op, attrs, image, kernel, channel_axis=3 if op == "depthwise_conv_2d" else 0,
        weights="int4", per_channel=window > 0, output=(0.2, -128),
    )  # fmt: skip
    return sample_graph(row, sample), sample, reference_outputs(row, sample)[0]


@pytest.mark.qemu
@pytest.mark.parametrize(("chosen", "op"), in_turn(COUNTED, WIDE, every=2))
def test_instructions_are_at_most_those_of_bytes_and_three_tenths(chosen: tuple[str, Optimize], op: str) -> None:
    machine, optimize = chosen
    graph, sample, expected = _wide_layer(op)
    weight = graph.values["weight"]
    assert weight.qparams is not None
    bytes_ = replace(
        graph, values={**graph.values, "weight": replace(weight, qparams=replace(weight.qparams, dtype="int8"))}
    )
    networks = [c_network(each, MACHINES[machine].cpu, optimize) for each in (graph, bytes_)]
    kernel = CHOSEN.get(machine, ("",) * 4)[WIDE.index(op)]
    assert optimize != "size" or not kernel or kernels_of(networks[0]) == {kernel}
    packed, whole = (
        _replayed(machine, each, sample, expected, network=network)
        for each, network in zip((graph, bytes_), networks, strict=True)
    )
    assert (packed.first, whole.first) == (None, None)
    assert packed.cost is not None
    assert whole.cost is not None
    assert packed.cost.max <= 1.3 * whole.cost.max
    constants = [sum(c_source("layer", network).constant_bytes.values()) for network in networks]
    halves = weight.elements // 2 if op != "depthwise_conv_2d" or machine == "cortex_m55" else weight.elements // 3
    assert constants[0] <= constants[1] - halves


@pytest.mark.qemu
@pytest.mark.parametrize("channels", [2, 3, 15, 16, 17, 33])
@pytest.mark.parametrize(("window", "stride"), [((3, 3), 1), ((3, 3), 2), ((5, 1), 1)])
def test_depthwise_records_of_odd_counts(channels: int, window: tuple[int, int], stride: int) -> None:
    """On Cortex-M55: two channels' weights in sixteen bytes, sixteen channels at a time."""
    rng = np.random.default_rng(channels)
    image = (2, 8, 1, channels) if window[1] == 1 else (2, 5, 6, channels)
    sample = weighted_sample(
        rng, "odd", {**PLAIN, "depth_multiplier": 1, "stride_h": stride, "stride_w": stride}, image,
        (1, *window, channels), channel_axis=3, weights="int4", output=(0.1, 4),
    )  # fmt: skip
    sample.arrays["weight"][rng.random((1, *window, channels)) < 0.2] = -8
    graph, row = sample_graph(ROWS["depthwise_conv_2d"], sample), ROWS["depthwise_conv_2d"]
    network = c_network(graph, "cortex-m55")
    (step,) = network.steps
    assert step.call.kernel.startswith("depthwise_")
    assert step.call.kernel.endswith("_mve_s8")
    assert step.call.arguments["weight_bits"] == 4
    expected = reference_outputs(row, sample)[0]
    for machine in ("cortex_m55", "host_sanitized"):
        assert _replayed(machine, graph, sample, expected, network=network).first is None


def _sine(bits: int, seed: int) -> Graph:
    """A sine network, calibrated."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.linspace(0, 6.28, 500)[:, None]
    network = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(weight_bits=bits))  # type: ignore[arg-type]
    qtorch.calibrate(network, [x])
    return integer_graph(network.eval())


@pytest.mark.parametrize("seed", range(4))
def test_constants_of_four_bits_are_no_larger(seed: int) -> None:
    graphs = {bits: _sine(bits, seed) for bits in (8, 4)}
    models = {bits: c_model("m", graph) for bits, graph in graphs.items()}
    # Of weights half: 256 of the layer in the middle, whose 128 bytes are worth their code, as those of 16 are not.
    assert models[4].figures["constant_bytes"] <= models[8].figures["constant_bytes"] - 128
    assert len(write_tflite(graphs[4])) < len(write_tflite(graphs[8]))
    graph, every = graphs[4], np.arange(-128, 128).astype(np.int8)[:, None]
    expected = interpret(graph, (every,))[graph.outputs[0]]
    if tflm_available():
        np.testing.assert_array_equal(TFLM.run(write_tflite(graph), (every,))[0], expected)
    if c_compiler() is not None:
        np.testing.assert_array_equal(run_c("m", models[4].files, graph, (every,))[0], expected)
