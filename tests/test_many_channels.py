"""300 and 1,030 channels in every kernel: nothing has a place for so many and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from export.c.network import c_network
from export.c.optimize import Optimize
from export.graph.ir import Graph
from export.rows import reference_outputs, sample_graph
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS
from qtorch.row.row import Sample
from tests.conftest import in_turn
from tests.shared_programs import Case, failures

CONV = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "same", "activation": "relu"}
DENSE = {"activation": "relu", "keep_num_dims": False}

COUNTS = (300, 1030)
#: label: (row, attrs, input [N, ...], weights), {} stands for the count.
WEIGHTED = {
    "from many channels": ("conv_2d", CONV, (1, 1, 4, 0), (3, 1, 1, 0)),
    "to many channels": ("conv_2d", CONV, (1, 1, 4, 3), (0, 1, 1, 3)),
    "a window over many channels": ("conv_2d", CONV, (1, 1, 4, 0), (2, 1, 3, 0)),
    "a window to many channels": ("conv_2d", CONV, (1, 2, 2, 2), (0, 3, 3, 2)),
    "one pixel": ("conv_2d", CONV, (1, 1, 1, 0), (5, 1, 1, 0)),
    "by channel": ("depthwise_conv_2d", {**CONV, "depth_multiplier": 1}, (1, 2, 4, 0), (1, 3, 3, 0)),
    "dense, from many": ("fully_connected", DENSE, (1, 0), (5, 0)),
    "dense, to many": ("fully_connected", DENSE, (1, 5), (0, 5)),
}
#: The shapes of inputs of rows without weights, each with the attributes of its own first sample.
OTHERS = {
    "average_pool_2d": (1, 2, 2, 0),
    "max_pool_2d": (1, 2, 2, 0),
    "mean": (1, 2, 2, 0),
    "softmax": (1, 0),
    "logistic": (1, 0),
    "add": (1, 2, 0),
    "mul": (1, 2, 0),
}
CASES = [(label, count) for label in (*WEIGHTED, *OTHERS) for count in COUNTS]
CPUS = {
    **{"cortex_m0": "cortex-m0", "cortex_m3": "cortex-m3", "cortex_m4": "cortex-m4"},
    **{"cortex_m55": "cortex-m55", "riscv32": "riscv32"},
}


def _layer(label: str, count: int) -> tuple[Graph, Sample, np.ndarray]:
    rng = np.random.default_rng(count + len(label))
    if label in OTHERS:
        row = ROWS[label]
        first = next(s for s in row.samples() if len(s.arrays["input"].shape) == len(OTHERS[label]) and _int8(s))
        arrays = {role: rng.integers(-128, 128, _filled(OTHERS[label], count)).astype(np.int8) for role in first.arrays}
        sample = replace(first, arrays=arrays, constants=frozenset())
    else:
        name, attrs, image, weights = WEIGHTED[label]
        row = ROWS[name]
        axis = 3 if name == "depthwise_conv_2d" else 0
        shapes = _filled(image, count), _filled(weights, count)
        sample = weighted_sample(rng, label, attrs, *shapes, channel_axis=axis, output=(0.3, -128))
    return sample_graph(row, sample), sample, reference_outputs(row, sample)[0]


def _int8(sample: Sample) -> bool:
    return all(array.dtype == np.int8 for array in sample.arrays.values())


def _filled(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    return tuple(size or count for size in shape)


def _cases(layers: Sequence[tuple[str, int]], cpu: str, optimize: Optimize) -> dict[str, Case]:
    cases = {}
    for label, count in layers:
        graph, sample, expected = _layer(label, count)
        cases[f"{label}, {count}"] = (c_network(graph, cpu, optimize), _running(graph, sample), (expected,))
    return cases


def _running(graph: Graph, sample: Sample) -> list[np.ndarray]:
    constant = {name for name in ("weight", "bias") if name in sample.arrays}
    return [array for role, array in sample.arrays.items() if role not in constant][: len(graph.inputs)]


#: Each case as for some processor; as for all of them with the sweeps.
SHARE = [pytest.param(len(CPUS), id="in turn"), pytest.param(1, id="all", marks=pytest.mark.sweep)]


@pytest.mark.parametrize("optimize", ["size", "speed"])
@pytest.mark.parametrize("every", SHARE)
@pytest.mark.parametrize("cpu", CPUS.values())
def test_many_channels_on_the_host(cpu: str, every: int, optimize: Optimize) -> None:
    first = list(CPUS.values()).index(cpu) % every
    assert failures("host_sanitized", _cases(CASES[first::every], cpu, optimize)) == {}


@pytest.mark.qemu
@pytest.mark.parametrize(("machine", "optimize"), in_turn(CPUS, ["size", "speed"]))
def test_many_channels_on_a_processor(machine: str, optimize: Optimize) -> None:
    cases = _cases([case for case in CASES if case[0] in WEIGHTED], CPUS[machine], optimize)
    found = failures(machine, cases)
    if machine == "cortex_m0":
        # Some are more than its 16 KiB of RAM.
        found = {label: said for label, said in found.items() if said != "too large"}
    assert found == {}
