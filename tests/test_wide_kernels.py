"""Layers on int16 activations, and int8 rows four by four: their C equals the reference, sanitized and emulated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.c.network import c_network
from export.c.source import c_source
from export.cost.rig_ends import NAME, rig_sources, rows_of_bytes
from export.graph.ir import Graph
from export.rows import reference_outputs, sample_graph
from firmware.emulation import MACHINES, Options, available, replay
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS
from tests.conftest import in_turn

PLAIN = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "valid", "activation": "none"}
SAME = {**PLAIN, "padding": "same"}
DENSE = {"activation": "relu", "keep_num_dims": False}
WIDE = {"dtype": "int16", "input": (1e-3, 0), "output": (0.5, 0)}

#: label: (op, attrs, image [N, H, W, C], weights, options of weighted_sample)
LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "deep": ("conv_2d", SAME, (3, 3, 3, 70), (8, 3, 3, 70), {**WIDE, "extreme": True}),
    "odd channels": ("conv_2d", SAME, (3, 5, 4, 3), (7, 3, 3, 3), WIDE),
    "stride": ("conv_2d", {**SAME, "stride_h": 2, "stride_w": 3}, (2, 7, 8, 5), (4, 2, 4, 5), WIDE),
    "dilation": ("conv_2d", {**SAME, "dilation_h": 2, "dilation_w": 3}, (2, 9, 9, 6), (5, 3, 3, 6), WIDE),
    "groups": ("conv_2d", SAME, (2, 5, 5, 8), (12, 3, 3, 2), WIDE),
    "depthwise": ("depthwise_conv_2d", {**SAME, "depth_multiplier": 2}, (2, 5, 6, 3), (1, 3, 2, 6), WIDE),
    # 32 bits hold 508 of the largest products.
    "dense": ("fully_connected", DENSE, (3, 531), (9, 531), {**WIDE, "extreme": True}),
    "int8, dense": ("fully_connected", DENSE, (3, 44), (9, 44), {}),
    "int8, eight": ("conv_2d", SAME, (2, 4, 4, 8), (6, 3, 3, 8), {}),
}  # fmt: skip
CPUS = {"cortex_m0": "cortex-m0", "cortex_m4": "cortex-m4", "cortex_m55": "cortex-m55", "riscv32": "riscv32"}


def _layer(label: str) -> tuple[Graph, np.ndarray, np.ndarray]:
    """One layer, inputs, of which the first have the least codes and the greatest, and what is right."""
    op, attrs, image, weights, options = LAYERS[label]
    rng = np.random.default_rng(list(LAYERS).index(label))
    axis = 3 if op.startswith("depthwise") else 0
    sample = weighted_sample(rng, label, attrs, image, weights, channel_axis=axis, **options)
    codes = sample.arrays["input"]
    if "extreme" in options:
        # Every product of some filter is as large as it can be.
        codes[0], codes[1] = np.where(sample.arrays["weight"][0] > 0, 32767, -32768), -32768
        sample.arrays["weight"][1] = 127
    row = ROWS[op]
    return sample_graph(row, sample), codes, reference_outputs(row, sample)[0].astype(codes.dtype)


def _first_mismatch(label: str, machine: str, optimize: str = "-O2") -> object:
    if why := available(MACHINES[machine]):
        pytest.skip(why)
    graph, codes, expected = _layer(label)
    files = c_source("layer", c_network(graph, CPUS.get(machine, "host"))).files
    rows = [rows_of_bytes([array], len(array)) for array in (codes, expected)]
    sources = {**files, **rig_sources(graph, "layer")}
    return replay(MACHINES[machine], sources, NAME, rows[0], rows[1], Options(optimize=(optimize,))).first


@pytest.mark.parametrize("label", LAYERS)
def test_a_layer_on_the_host(label: str) -> None:
    assert _first_mismatch(label, "host_sanitized") is None


@pytest.mark.qemu
@pytest.mark.parametrize("label", LAYERS)
def test_a_layer_on_cortex_m4(label: str) -> None:
    assert _first_mismatch(label, "cortex_m4") is None


@pytest.mark.qemu
@pytest.mark.parametrize(("label", "machine"), in_turn(LAYERS, ["cortex_m0", "cortex_m55", "riscv32"]))
def test_a_layer_on_other_processors(label: str, machine: str) -> None:
    assert _first_mismatch(label, machine) is None


@pytest.mark.qemu
@pytest.mark.parametrize("optimize", ["-O0", "-O1", "-Os", "-O3"])
@pytest.mark.parametrize("label", ["odd channels", "int8, eight"])
def test_registers_suffice_at_other_optimizations(label: str, optimize: str) -> None:
    """The loop takes all registers but one."""
    assert _first_mismatch(label, "cortex_m4", optimize) is None
