"""Kernels for Cortex-M: equal to the integer reference on the host, portable and sanitized, and when emulated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qtorch
from export.c.compiled import build_c, c_compiler, run_built
from export.c.network import c_network, network_of, portable_calls
from export.c.source import c_source
from export.graph.build import integer_graph
from export.graph.interpret import interpret
from export.graph.ir import Graph
from export.rows import reference_outputs, runtime_arrays, sample_graph
from qtorch.errors import UnsupportedLayer
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS
from qtorch.row.row import Sample
from recipes.mlperf_tiny import DSCNN, Autoencoder, MobileNetV1, ResNet8
from tests.conftest import in_turn
from tests.shared_programs import Case, failures
from tests.table_kernels import by_table, kernels_of, replayed_layer

PLAIN = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none"}
SAME = {**PLAIN, "padding": "same"}
RELU = {**SAME, "activation": "relu"}
TWO = {**SAME, "stride_h": 2, "stride_w": 2}
CUT = {"output": (0.3, -128)}

#: label: (attrs, image [N, H, W, C], weights [O, h, w, C] or [1, h, w, C], options of weighted_sample, the kernel)
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    "pointwise": (RELU, (3, 5, 5, 64), (64, 1, 1, 64), CUT, "conv_2d_pairs_s8"),
    "pointwise, odd channels": (RELU, (3, 4, 7, 13), (7, 1, 1, 13), CUT, "conv_2d_pairs_s8"),
    "pointwise, one output": (PLAIN, (3, 2, 2, 5), (1, 1, 1, 5), {}, "conv_2d_pairs_s8"),
    "pointwise, stride": (TWO, (3, 5, 6, 9), (6, 1, 1, 9), {}, "conv_2d_pairs_s8"),
    "convolution": (RELU, (3, 5, 4, 3), (16, 3, 3, 3), CUT, "conv_2d_pairs_s8"),
    "convolution, chunks": (SAME, (2, 4, 4, 33), (9, 3, 3, 33), {"extreme": True}, "conv_2d_pairs_s8"),
    "convolution, chunks, relu": (RELU, (2, 3, 5, 70), (10, 3, 3, 70), {"output": (2.0, -128)}, "conv_2d_pairs_s8"),
    "convolution, wide window": ({**SAME, "stride_h": 2}, (3, 9, 6, 1), (8, 10, 4, 1), {}, "conv_2d_pairs_s8"),
    "convolution, saturating": (SAME, (3, 4, 4, 8), (3, 3, 3, 8), {"output": (1e-3, 3)}, "conv_2d_pairs_s8"),
    "convolution, tiny scales": (
        SAME, (2, 4, 4, 8), (3, 3, 3, 8), {"input": (1e-12, 3), "output": (1e-12, 3)}, "conv_2d_pairs_s8"
    ),
    "convolution, large bias": (
        SAME, (2, 4, 4, 2), (3, 1, 1, 2), {"bias": 2**29, "output": (4e3, 0)}, "conv_2d_pairs_s8"
    ),
    "convolution of windows, large bias": (
        SAME, (2, 4, 5, 3), (4, 3, 3, 3), {"bias": 2**29, "output": (4e3, 0)}, "conv_2d_pairs_s8"
    ),
    "convolution, zero points": (
        SAME, (2, 4, 4, 3), (4, 3, 3, 3), {"input": (0.02, 127), "output": (0.1, -128)}, "conv_2d_pairs_s8"
    ),
    "convolution, limits": ({**SAME, "activation": "relu6"}, (3, 4, 4, 5), (8, 2, 2, 5), {"output": (0.1, -100)},
                            "conv_2d_pairs_s8"),
    "convolution, dilation": ({**SAME, "dilation_h": 2, "dilation_w": 3}, (2, 9, 9, 2), (3, 3, 3, 2), {}, "conv_2d_s8"),
    "convolution, groups": (SAME, (2, 5, 5, 6), (9, 3, 3, 2), {}, "conv_2d_s8"),
    "convolution, two pixels": (PLAIN, (3, 1, 2, 6), (4, 1, 1, 6), {}, "pointwise_s8"),
    "depthwise": (RELU, (3, 7, 5, 16), (1, 3, 3, 16), CUT, "depthwise_conv_2d_pairs_s8"),
    "depthwise, odd": (RELU, (3, 6, 7, 5), (1, 3, 3, 5), CUT, "depthwise_conv_2d_pairs_s8"),
    "depthwise, extreme": (SAME, (3, 4, 4, 3), (1, 3, 3, 3), {"extreme": True}, "depthwise_conv_2d_pairs_s8"),
    "depthwise, stride": (
        {**TWO, "activation": "relu"}, (3, 9, 8, 6), (1, 3, 3, 6), {**CUT, "input": (0.05, -128)},
        "depthwise_conv_2d_pairs_s8",
    ),
    "depthwise, stride 3": (
        {**RELU, "stride_h": 3, "stride_w": 1}, (3, 10, 6, 4), (1, 3, 3, 4), CUT, "depthwise_conv_2d_pairs_s8"
    ),
    "depthwise, one column": (
        {**RELU, "stride_h": 2}, (3, 10, 3, 4), (1, 3, 1, 4), CUT, "depthwise_conv_2d_pairs_s8"
    ),
    "depthwise, one row": (RELU, (3, 1, 6, 4), (1, 3, 3, 4), CUT, "depthwise_conv_2d_pairs_s8"),
    "depthwise, wide window": (RELU, (3, 8, 8, 4), (1, 5, 4, 4), CUT, "depthwise_conv_2d_pairs_s8"),
    "depthwise, valid": (
        {**PLAIN, "activation": "relu"}, (3, 8, 5, 6), (1, 3, 2, 6), CUT, "depthwise_conv_2d_pairs_s8"
    ),
    "depthwise, dilation": ({**SAME, "dilation_h": 2, "dilation_w": 2}, (2, 9, 9, 2), (1, 3, 3, 2), {},
                            "depthwise_conv_2d_s8"),
    "depthwise, sums beyond a field": (SAME, (2, 9, 9, 2), (1, 9, 9, 2), {"extreme": True}, "depthwise_conv_2d_s8"),
    # Every output channel reads the one input channel, as a convolution does.
    "depthwise, one channel": ({**SAME, "depth_multiplier": 4}, (2, 5, 6, 1), (1, 3, 3, 4), {}, "conv_2d_pairs_s8"),
}  # fmt: skip

#: Kernels for convolutions, and that for depthwise ones.
FORMS = {form: f"conv_2d_{form}_s8" for form in ("pairs", "unpacked", "joined", "winograd")}
DEPTHWISE = "depthwise_conv_2d_pairs_s8"
#: Layers that tiles of 2x2 outputs are made of; the depthwise one is a convolution of one channel.
IN_TILES = {
    label
    for label, (attrs, _, weights, _, kernel) in LAYERS.items()
    if weights[1:3] == (3, 3) and attrs["stride_h"] == 1 and kernel == FORMS["pairs"]
}
#: Each layer with each of its kernels.
LAYERS_AND_FORMS = [
    (label, form)
    for label in LAYERS
    for form in FORMS
    if form == "pairs" or (label in IN_TILES if form == "winograd" else LAYERS[label][4] == "conv_2d_pairs_s8")
]
#: What the weights in halfwords leave to others: codes cut off within int8, factors that no multiplier of 32 bits has.
NOT_JOINED = {"convolution, saturating", "convolution, zero points", "convolution, limits"}

#: What speed is asked of, and the machines that its sources run on.
CPUS = {name: name.replace("_", "-") for name in ("cortex_m3", "cortex_m4", "cortex_m33", "cortex_m55")}

#: Inputs and outputs of layers that are the same source on any processor.
DENSE = [(1, 1), (3, 4), (16, 5), (17, 9), (31, 8), (70, 6)]


def _layer(label: str) -> tuple[Graph, Sample, np.ndarray]:
    """One layer, its samples (the first of them as large as codes are), and the outputs that are right."""
    attrs, image, weights, options, _ = LAYERS[label]
    depthwise = label.startswith("depthwise")
    rng = np.random.default_rng(list(LAYERS).index(label))
    row = ROWS["depthwise_conv_2d" if depthwise else "conv_2d"]
    attrs = {"depth_multiplier": 1, **attrs} if depthwise else attrs
    sample = weighted_sample(rng, label, attrs, image, weights, channel_axis=3 if depthwise else 0, **options)
    sample.arrays["input"][0] = rng.choice(np.array([-128, 127], np.int8), image[1:])
    return sample_graph(row, sample), sample, reference_outputs(row, sample)[0]


def _dense(inputs: int, outputs: int) -> tuple[Graph, Sample, np.ndarray]:
    rng = np.random.default_rng(100 * inputs + outputs)
    attrs = {"activation": "relu", "keep_num_dims": False}
    sample = weighted_sample(rng, "", attrs, (4, inputs), (outputs, inputs), channel_axis=0, output=(0.2, -128))
    row = ROWS["fully_connected"]
    return sample_graph(row, sample), sample, reference_outputs(row, sample)[0]


def _by_forms(layers: Sequence[tuple[str, str]], cpu: str) -> dict[str, Case]:
    """Networks of each layer with one of its kernels, and what is right."""
    cases = {}
    for label, form in layers:
        graph, sample, expected = _layer(label)
        cases[f"{label}: {form}"] = (
            by_table(graph, cpu, FORMS[form], DEPTHWISE),
            (sample.arrays["input"],),
            (expected,),
        )
    return cases


@pytest.mark.parametrize("form", FORMS)
def test_portable_form_of_layers(form: str) -> None:
    cases = _by_forms([each for each in LAYERS_AND_FORMS if each[1] == form], "cortex-m4")
    for name, (network, *_) in cases.items():
        label = name.removesuffix(f": {form}")
        taken = LAYERS[label][4] == "conv_2d_pairs_s8" and not (form == "joined" and label in NOT_JOINED)
        if taken or form != "joined":
            assert kernels_of(network) == {FORMS[form] if taken else LAYERS[label][4]}, name
    assert failures("host_sanitized", cases) == {}


#: Each layer by each kernel on some processor; on all of them with the sweeps.
SHARE = [pytest.param(len(CPUS), id="in turn"), pytest.param(1, id="all", marks=pytest.mark.sweep)]


@pytest.mark.qemu
@pytest.mark.parametrize("every", SHARE)
@pytest.mark.parametrize("machine", CPUS)
def test_layers_on_their_processor(machine: str, every: int) -> None:
    first = list(CPUS).index(machine) % every
    assert failures(machine, _by_forms(LAYERS_AND_FORMS[first::every], CPUS[machine])) == {}


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("layer", "machine"),
    in_turn(
        product(
            ["conv_2d", "depthwise_conv_2d"],
            [(2, 8, 8, 2), (1, 4, 4, 16), (3, 1, 8, 8), (8, 3, 3, 5)],
        ),
        ["cortex_m3", "cortex_m4"],
    ),
)
def test_speed_costs_no_more_than_size_nor_that_than_the_kernel_for_any(
    layer: tuple[str, tuple[int, ...]], machine: str
) -> None:
    op, shape = layer
    rng = np.random.default_rng(0)
    channels, rows, columns, outputs = shape
    attrs, window = (
        {**RELU, "depth_multiplier": 1},
        (1, 3, 3, channels) if op != "conv_2d" else (outputs, 3, 3, channels),
    )
    sample = weighted_sample(rng, "", attrs, (1, rows, columns, channels), window, channel_axis=3 * (op != "conv_2d"))
    graph, expected = sample_graph(ROWS[op], sample), reference_outputs(ROWS[op], sample)[0]
    networks = [c_network(graph, CPUS[machine], optimize) for optimize in ("speed", "size")]
    costs = []
    for network in (*networks, network_of(graph, portable_calls(graph), CPUS[machine])):
        cost = replayed_layer(machine, network, sample.arrays["input"], expected).cost
        assert cost is not None
        costs.append(cost.max)
    assert costs == sorted(costs)


@pytest.mark.sweep
@pytest.mark.qemu
@pytest.mark.parametrize("optimize", ["-O0", "-O1", "-Os", "-O3"])
@pytest.mark.parametrize("label", ["convolution, chunks, relu", "depthwise, odd"])
@pytest.mark.parametrize("form", FORMS)
def test_layer_at_other_optimizations(label: str, optimize: str, form: str) -> None:
    graph, sample, expected = _layer(label)
    network = by_table(graph, "cortex-m4", FORMS[form], DEPTHWISE)
    assert replayed_layer("cortex_m4", network, sample.arrays["input"], expected, optimize).first is None


@pytest.mark.qemu
@pytest.mark.parametrize("machine", ["cortex_m0", *CPUS, "riscv32"])
def test_dense_layers_on_any_processor(machine: str) -> None:
    layers = {f"{inputs} to {outputs}": _dense(inputs, outputs) for inputs, outputs in DENSE}
    cases = {label: (c_network(graph), (sample.arrays["input"],), (y,)) for label, (graph, sample, y) in layers.items()}
    assert failures(machine, cases) == {}


@pytest.mark.parametrize(
    "machine", ["host_sanitized", *(pytest.param(name, marks=pytest.mark.qemu) for name in ("cortex_m4", "cortex_m33"))]
)
def test_dense_layers_with_two_weights_in_a_halfword(machine: str) -> None:
    cases = {}
    for sizes in ((8, 4), (17, 9), (70, 6), (9, 7), (300, 5)):
        graph, sample, expected = _dense(*sizes)
        network = by_table(graph, "cortex-m4", "fully_connected_joined_s8")
        assert kernels_of(network) == {"fully_connected_joined_s8"}
        cases[str(sizes)] = (network, (sample.arrays["input"],), (expected,))
    assert failures(machine, cases) == {}


@pytest.mark.qemu
def test_averages_on_a_processor() -> None:
    row, cases = ROWS["average_pool_2d"], {}
    for sample in row.samples():
        if sample.arrays["input"].dtype == np.int8:
            graph = sample_graph(row, sample)
            cases[f"{len(cases)}: {sample.label}"] = (
                c_network(graph),
                (sample.arrays["input"],),
                reference_outputs(row, sample),
            )
    assert failures("cortex_m3", cases) == {}


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc")
@pytest.mark.parametrize(
    "machine", ["host_sanitized", *(pytest.param(name, marks=pytest.mark.qemu) for name in ("cortex_m3", "cortex_m4"))]
)
@pytest.mark.parametrize("form", sorted({*FORMS} - {"winograd"}))  # no sum of which comes near the ends of its type
def test_largest_sums_fit_their_fields(machine: str, form: str) -> None:
    """Every pixel's codes have the signs of some channel's weights, which are as large as weights are."""
    rng = np.random.default_rng(0)
    options = {"extreme": True, "output": (12.0, 0)}
    sample = weighted_sample(rng, "", PLAIN, (2, 2, 4, 96), (8, 1, 1, 96), channel_axis=0, **options)
    signs = sample.arrays["weight"].reshape(8, 96) > 0
    sample.arrays["input"][0] = np.where(signs, 127, -128).reshape(2, 4, 96)
    sample.arrays["input"][1] = np.where(signs, -128, 127).reshape(2, 4, 96)
    graph, expected = sample_graph(ROWS["conv_2d"], sample), reference_outputs(ROWS["conv_2d"], sample)[0]
    assert np.abs(expected).max() > 64
    network = by_table(graph, "cortex-m4", FORMS[form])
    assert kernels_of(network) == {FORMS[form]}
    assert replayed_layer(machine, network, sample.arrays["input"], expected).first is None


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc")
@pytest.mark.parametrize(
    "machine", ["host_sanitized", *(pytest.param(name, marks=pytest.mark.qemu) for name in ("cortex_m3", "cortex_m4"))]
)
@pytest.mark.parametrize("limit", [-(2**31) + 400_000, 2**31 - 400_000])
def test_biases_near_the_ends_of_their_type(limit: int, machine: str) -> None:
    rng = np.random.default_rng(0)
    sample = weighted_sample(rng, "", SAME, (2, 4, 4, 2), (3, 1, 1, 2), channel_axis=0, output=(1e6, 3))
    sample.arrays["bias"][:] = limit + rng.integers(-1000, 1000, 3)
    graph, expected = sample_graph(ROWS["conv_2d"], sample), reference_outputs(ROWS["conv_2d"], sample)[0]
    assert 0 < np.abs(expected).max() < 128
    assert (
        replayed_layer(machine, c_network(graph, "cortex-m4", optimize="speed"), sample.arrays["input"], expected).first
        is None
    )


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler found; install gcc")
@pytest.mark.parametrize("op", ["conv_2d", "depthwise_conv_2d"])
def test_samples_of_the_rows(op: str) -> None:
    models, samples = {}, {}
    for sample in ROWS[op].samples():
        graph, name = sample_graph(ROWS[op], sample), f"op_{len(samples)}"
        try:
            network = c_network(graph, "cortex-m4", optimize="speed")
        except UnsupportedLayer:
            continue  # for any processor
        models[name], samples[name] = (c_source(name, network).files, graph), sample
    library = build_c(models)
    assert len(samples) > 10
    for name, sample in samples.items():
        got = run_built(library, name, models[name][1], runtime_arrays(models[name][1], sample))
        np.testing.assert_array_equal(got[0], reference_outputs(ROWS[op], sample)[0], err_msg=sample.label)


def test_for_the_least_memory_every_call_stays() -> None:
    graph, _, _ = _layer("convolution")
    assert kernels_of(c_network(graph, "cortex-m4", optimize="ram")) == {"conv_2d_s8"}
    assert kernels_of(c_network(graph, "cortex-m3", optimize="ram")) == {"conv_2d_s8"}
    assert kernels_of(c_network(graph, "cortex-m0", optimize="speed")) == {"conv_2d_s8"}
    assert kernels_of(c_network(graph, "cortex-m55", optimize="speed")) == {"conv_2d_mve_s8"}


def _quantized(network: nn.Module, shape: tuple[int, ...]) -> tuple[Graph, np.ndarray]:
    """The integers of an untrained network and a few inputs."""
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    network(x)
    network.eval()
    qat = qtorch.prepare(network, x[:1])
    qtorch.calibrate(qat, [x])
    graph = integer_graph(qat)
    codes = np.random.default_rng(0).integers(-128, 128, (2, *graph.values[graph.inputs[0]].shape[1:]), np.int8)
    return graph, codes


@pytest.mark.qemu
@pytest.mark.parametrize("machine", CPUS)
def test_whole_network(machine: str) -> None:
    torch.manual_seed(0)
    graph, codes = _quantized(DSCNN(classes=5, channels=22), (1, 49, 10))
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    fast = replayed_layer(machine, c_network(graph, CPUS[machine], optimize="speed"), codes, expected)
    small = replayed_layer(machine, c_network(graph, CPUS[machine], optimize="size"), codes, expected)
    assert (fast.first, small.first) == (None, None)
    assert fast.cost is not None
    assert small.cost is not None
    assert fast.cost.max <= small.cost.max


@pytest.mark.parametrize(
    ("network", "shape", "share"),
    [
        (DSCNN, (1, 49, 10), 1.06),
        (ResNet8, (3, 32, 32), 1.06),
        (MobileNetV1, (3, 96, 96), 1.05),
        (Autoencoder, (640,), 2.7),  # the inputs of a dense layer as halfwords
    ],
)
def test_working_memory_of_known_networks(network: type[nn.Module], shape: tuple[int, ...], share: float) -> None:
    torch.manual_seed(0)
    graph, _ = _quantized(network(), shape)
    found = c_network(graph, "cortex-m4", optimize="speed")
    assert found.plan.peak <= share * found.bound


@pytest.mark.qemu
def test_cost_of_a_small_perceptron() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    graph, codes = _quantized(layers, (1,))
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    for machine, most in (("cortex_m3", 1900), ("cortex_m55", 1200)):
        found = replayed_layer(machine, c_network(graph), codes, expected)
        assert found.first is None
        assert found.cost is not None
        assert found.cost.max <= most
    firmware = replayed_layer("cortex_m4", c_network(graph), codes, expected, "-Os").firmware
    assert firmware is not None
    assert firmware.flash <= 4096
    assert firmware.ram < 200


class _Product(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT


@pytest.mark.qemu
@pytest.mark.parametrize("machine", ["cortex_m0", *CPUS, "riscv32", "atmega328p"])
def test_products_of_matrices_cost_little_more_than_layers(machine: str) -> None:
    """Of as many products; sums of rows and columns take the place of what a layer has in its biases."""
    costs = []
    for network in (_Product(), nn.Linear(32, 15, bias=False)):
        graph, codes = _quantized(network, (15, 32))
        expected = interpret(graph, (codes,))[graph.outputs[0]]
        found = replayed_layer(machine, c_network(graph), codes, expected)
        assert found.first is None
        assert found.cost is not None
        costs.append(found.cost.max)
    assert costs[0] < (1.5 if machine in CPUS else 4) * costs[1]


@pytest.mark.qemu
def test_a_pooling_whose_sums_pass_16_bits_is_exact() -> None:
    """Up to 257 pixels are summed two channels to a word; here are 289."""
    row = ROWS["average_pool_2d"]
    sample = next(sample for sample in row.samples() if sample.label == "wide, high")
    graph = sample_graph(row, sample)
    expected = reference_outputs(row, sample)[0]
    found = replayed_layer("cortex_m4", c_network(graph, "cortex-m4"), runtime_arrays(graph, sample)[0], expected)
    np.testing.assert_array_equal(found.outputs, expected.reshape(len(expected), -1))
