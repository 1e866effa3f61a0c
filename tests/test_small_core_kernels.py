"""Kernels for Cortex-M0 and RV32: equal to the reference on the host, portable and sanitized, and when emulated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from export.c.network import c_network
from export.c.optimize import Optimize
from export.graph.ir import Graph
from export.rows import reference_outputs, sample_graph
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS
from qtorch.row.row import Sample
from tests.shared_programs import Case, failures
from tests.table_kernels import by_table, replayed_layer

PLAIN = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none"}
SAME = {**PLAIN, "padding": "same"}
RELU = {**SAME, "activation": "relu"}
TWO = {**SAME, "stride_h": 2, "stride_w": 2}
CUT = {"output": (0.3, -128)}

#: label: (attrs, image [N, H, W, C], weights [O, h, w, C] or [1, h, w, C], options of weighted_sample, the kernel)
LAYERS: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    "pointwise": (RELU, (2, 5, 5, 16), (8, 1, 1, 16), CUT, "conv_2d_words_s8"),
    "pointwise, odd channels": (RELU, (2, 3, 3, 13), (7, 1, 1, 13), CUT, "conv_2d_words_s8"),
    "pointwise, one channel": (RELU, (2, 2, 2, 1), (1, 1, 1, 1), CUT, "conv_2d_words_s8"),
    "pointwise, stride": (TWO, (2, 5, 6, 9), (6, 1, 1, 9), {}, "conv_2d_words_s8"),
    "convolution": (RELU, (2, 5, 4, 3), (11, 3, 3, 3), CUT, "conv_2d_words_s8"),
    "convolution, extreme": (SAME, (2, 4, 4, 33), (9, 3, 3, 33), {"extreme": True}, "conv_2d_words_s8"),
    "convolution, wide window": ({**SAME, "stride_h": 2}, (2, 9, 6, 1), (8, 10, 4, 1), {}, "conv_2d_words_s8"),
    "convolution, saturating": (SAME, (2, 4, 4, 8), (3, 3, 3, 8), {"output": (1e-3, 3)}, "conv_2d_words_s8"),
    "convolution, large bias": (
        SAME, (2, 4, 4, 2), (3, 1, 1, 2), {"bias": 2**29, "output": (4e3, 0)}, "conv_2d_words_s8"
    ),
    "convolution, zero points": (
        SAME, (2, 4, 4, 3), (4, 3, 3, 3), {"input": (0.02, 127), "output": (0.1, -128)}, "conv_2d_words_s8"
    ),
    "convolution, dilation": (
        {**SAME, "dilation_h": 2, "dilation_w": 3}, (2, 9, 9, 2), (5, 3, 3, 2), {}, "conv_2d_words_s8"
    ),
    "convolution, groups": (SAME, (2, 5, 5, 6), (9, 3, 3, 2), {}, "conv_2d_s8"),
    "convolution, one pixel": (PLAIN, (2, 1, 1, 6), (4, 1, 1, 6), {}, "pointwise_s8"),
    "depthwise": (RELU, (2, 7, 5, 6), (1, 3, 3, 6), CUT, "depthwise_conv_2d_planes_s8"),
    "depthwise, odd": (RELU, (2, 6, 7, 5), (1, 3, 3, 5), CUT, "depthwise_conv_2d_planes_s8"),
    "depthwise, extreme": (SAME, (2, 4, 4, 3), (1, 3, 3, 3), {"extreme": True}, "depthwise_conv_2d_planes_s8"),
    "depthwise, stride": (
        {**TWO, "activation": "relu"}, (2, 9, 8, 6), (1, 3, 3, 6), {**CUT, "input": (0.05, -128)},
        "depthwise_conv_2d_planes_s8",
    ),
    "depthwise, stride 3": (
        {**RELU, "stride_h": 3, "stride_w": 1}, (2, 10, 6, 4), (1, 3, 3, 4), CUT, "depthwise_conv_2d_planes_s8"
    ),
    "depthwise, stride 3 along": (
        {**RELU, "stride_w": 3}, (2, 3, 13, 4), (1, 3, 3, 4), CUT, "depthwise_conv_2d_planes_s8"
    ),
    "depthwise, one column": (
        {**RELU, "stride_h": 2}, (2, 10, 3, 4), (1, 3, 1, 4), CUT, "depthwise_conv_2d_planes_s8"
    ),
    "depthwise, one row": (RELU, (2, 1, 6, 4), (1, 3, 3, 4), CUT, "depthwise_conv_2d_planes_s8"),
    "depthwise, wide window": (RELU, (2, 8, 8, 4), (1, 5, 4, 4), CUT, "depthwise_conv_2d_planes_s8"),
    "depthwise, valid": (
        {**PLAIN, "activation": "relu"}, (2, 8, 5, 6), (1, 3, 2, 6), CUT, "depthwise_conv_2d_planes_s8"
    ),
    "depthwise, dilation": (
        {**SAME, "dilation_h": 2, "dilation_w": 2}, (2, 9, 9, 2), (1, 3, 3, 2), {}, "depthwise_conv_2d_planes_s8"
    ),
    "depthwise, rows apart": (
        {**SAME, "dilation_h": 3}, (2, 9, 5, 2), (1, 3, 3, 2), {}, "depthwise_conv_2d_planes_s8"
    ),
    "depthwise, multiplier": (
        {**SAME, "depth_multiplier": 2}, (2, 5, 6, 2), (1, 3, 3, 4), {}, "depthwise_conv_2d_s8"
    ),
    "depthwise, few pixels": (SAME, (2, 3, 3, 2), (1, 3, 3, 2), {}, "depthwise_conv_2d_s8"),
}  # fmt: skip

Layer = tuple[Graph, Sample, np.ndarray]

#: What speed is asked of, and the machines that its sources run on.
CPUS = {"cortex_m0": "cortex-m0", "riscv32": "riscv32"}

DRAWN = range(40)


def _layer(label: str) -> Layer:
    """One layer, its samples (the first of them as large as codes are), and the outputs that are right."""
    attrs, image, weights, options, _ = LAYERS[label]
    return _graph(list(LAYERS).index(label), label.startswith("depthwise"), attrs, image, weights, options)


def _graph(
    seed: int, depthwise: bool, attrs: dict[str, Any], image: tuple[int, ...], weights: tuple[int, ...],
    options: dict[str, Any],
) -> Layer:  # fmt: skip
    rng = np.random.default_rng(seed)
    row = ROWS["depthwise_conv_2d" if depthwise else "conv_2d"]
    attrs = {"depth_multiplier": 1, **attrs} if depthwise else attrs
    sample = weighted_sample(rng, str(seed), attrs, image, weights, channel_axis=3 if depthwise else 0, **options)
    sample.arrays["input"][0] = rng.choice(np.array([-128, 127], np.int8), image[1:])
    return sample_graph(row, sample), sample, reference_outputs(row, sample)[0]


def _drawn(seed: int) -> Layer:
    """A convolution or a depthwise one of any shape."""
    rng = np.random.default_rng(1000 + seed)
    window = rng.integers(1, 5, 2)
    image = (2, *(int(size) for size in rng.integers(1, 12, 2)), int(rng.choice([1, 2, 3, 4, 5, 8, 11])))
    padding = "same" if (window > image[1:3]).any() else str(rng.choice(["same", "valid"]))
    strides = rng.integers(1, 4, 2)
    dilations = rng.integers(1, 3, 2) if (strides == 1).all() and padding == "same" else (1, 1)
    attrs = {
        **{"stride_h": int(strides[0]), "stride_w": int(strides[1])},
        **{"dilation_h": int(dilations[0]), "dilation_w": int(dilations[1])},
        **{"padding": padding, "activation": str(rng.choice(["none", "relu", "relu6"]))},
    }
    options = {
        "input": (float(rng.choice([0.02, 0.5])), int(rng.integers(-128, 128))),
        "output": (float(rng.choice([0.05, 0.4, 3.0])), int(rng.integers(-128, 128))),
        "extreme": bool(rng.integers(4) == 0),
    }
    depthwise = bool(rng.integers(2))
    filters = 1 if depthwise else int(rng.integers(1, 10))
    weights = (filters, int(window[0]), int(window[1]), image[3])
    return _graph(seed, depthwise, attrs, image, weights, options)


def _cases(layers: Iterable[Layer], cpu: str, optimize: Optimize | None = None) -> dict[str, Case]:
    """Networks of layers by the kernels of the table, or by those that are chosen, and what is right."""
    return {
        sample.label: (
            by_table(graph, cpu) if optimize is None else c_network(graph, cpu, optimize),
            (sample.arrays["input"],),
            (expected,),
        )
        for graph, sample, expected in layers
    }


#: Each of two processors has its half of what is in turn.
HALF = [pytest.param(2, id="in turn"), pytest.param(1, id="all", marks=pytest.mark.sweep)]


@pytest.mark.parametrize("cpu", CPUS.values())
def test_portable_form_of_layers(cpu: str) -> None:
    cases = _cases(map(_layer, LAYERS), cpu)
    kernels = [{step.call.kernel for step in network.steps} for network, *_ in cases.values()]
    assert kernels == [{layer[4]} for layer in LAYERS.values()]
    first = list(CPUS.values()).index(cpu)
    assert failures("host_sanitized", dict(list(cases.items())[first::2])) == {}


@pytest.mark.qemu
@pytest.mark.parametrize("machine", CPUS)
def test_layers_on_their_processor(machine: str) -> None:
    assert failures(machine, _cases(map(_layer, LAYERS), CPUS[machine])) == {}


@pytest.mark.parametrize("every", HALF)
@pytest.mark.parametrize("cpu", CPUS.values())
def test_portable_form_of_drawn_layers(cpu: str, every: int) -> None:
    first = list(CPUS.values()).index(cpu) % every
    assert failures("host_sanitized", _cases(map(_drawn, DRAWN[first::every]), cpu)) == {}


@pytest.mark.qemu
@pytest.mark.parametrize("every", HALF)
@pytest.mark.parametrize("machine", CPUS)
def test_drawn_layers_on_a_processor(machine: str, every: int) -> None:
    first = list(CPUS).index(machine) % every
    for optimize in ("size", "speed"):
        assert failures(machine, _cases(map(_drawn, DRAWN[first::every]), CPUS[machine], optimize)) == {}


@pytest.mark.avr
def test_depthwise_layers_on_avr() -> None:
    labels = [label for label in LAYERS if label.startswith("depthwise")]
    cases = _cases(map(_layer, labels), "avr")
    for label, (network, *_) in zip(labels, cases.values(), strict=True):
        apart = label in (
            "depthwise, stride 3",
            "depthwise, stride 3 along",
            "depthwise, multiplier",
            "depthwise, few pixels",
        )
        other = apart or "dilation" in label or label == "depthwise, rows apart"
        assert {step.call.kernel for step in network.steps} == {f"depthwise_conv_2d_{'s8' if other else 'avr'}"}, label
    assert failures("atmega328p", cases) == {}


@pytest.mark.avr
def test_drawn_layers_on_avr() -> None:
    drawn = [layer for layer in map(_drawn, DRAWN) if layer[1].arrays["input"].nbytes + layer[2].nbytes <= 1200]
    assert len(drawn) > 20
    assert failures("atmega328p", _cases(drawn, "avr")) == {}


@pytest.mark.sweep
@pytest.mark.qemu
@pytest.mark.parametrize("machine", CPUS)
@pytest.mark.parametrize("optimize", ["-O0", "-O1", "-Os", "-O3"])
@pytest.mark.parametrize("label", ["convolution, extreme", "depthwise, odd"])
def test_layer_at_other_optimizations(label: str, optimize: str, machine: str) -> None:
    graph, sample, expected = _layer(label)
    network = by_table(graph, CPUS[machine])
    assert replayed_layer(machine, network, sample.arrays["input"], expected, optimize).first is None


@pytest.mark.qemu
@pytest.mark.parametrize("machine", ["host_sanitized", *CPUS])
def test_largest_sums_fit_their_fields(machine: str) -> None:
    """Every pixel's codes have the signs of some channel's weights, which are as large as weights are."""
    rng = np.random.default_rng(0)
    options = {"extreme": True, "output": (12.0, 0)}
    sample = weighted_sample(rng, "", PLAIN, (2, 2, 4, 96), (8, 1, 1, 96), channel_axis=0, **options)
    signs = sample.arrays["weight"].reshape(8, 96) > 0
    sample.arrays["input"][0] = np.where(signs, 127, -128).reshape(2, 4, 96)
    sample.arrays["input"][1] = np.where(signs, -128, 127).reshape(2, 4, 96)
    graph, expected = sample_graph(ROWS["conv_2d"], sample), reference_outputs(ROWS["conv_2d"], sample)[0]
    assert np.abs(expected).max() > 64
    network = by_table(graph, CPUS.get(machine, "riscv32"))
    assert {step.call.kernel for step in network.steps} == {"conv_2d_words_s8"}
    assert replayed_layer(machine, network, sample.arrays["input"], expected).first is None


def test_weights_beyond_the_fields_are_left_to_another_kernel() -> None:
    """Two weights of -128 with two codes of -128 have a product of 2^15."""
    rng = np.random.default_rng(0)
    sample = weighted_sample(rng, "", PLAIN, (2, 2, 4, 4), (4, 1, 1, 4), channel_axis=0)
    sample.arrays["weight"][0] = -128
    network = by_table(sample_graph(ROWS["conv_2d"], sample), "riscv32")
    assert {step.call.kernel for step in network.steps} == {"pointwise_s8"}
