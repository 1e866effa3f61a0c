"""Weights of 4 bits in plain C against the same codes in bytes: constants, programs and instructions.

Layers one by one on emulated processors, every output equal; and the constants of MLPerf Tiny's networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import qtorch
from benchmarks.mlperf_networks import REFERENCES, Reference
from benchmarks.suite import Suite, markdown_table
from export.c.network import c_network
from export.c.optimize import Optimize
from export.c.source import c_source
from export.cost.machines import replayed
from export.graph.build import integer_graph
from export.graph.ir import Graph
from export.rows import sample_graph
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, available
from qtorch.errors import BadConfiguration
from qtorch.families.convolution import weighted_sample
from qtorch.ops import ROWS

__all__ = ["FOUR_BITS"]

_WINDOW = {"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "padding": "same", "activation": "relu"}
_DENSE = {"activation": "relu", "keep_num_dims": False}
#: label: op, attributes, input, weights, the weights' channel axis
_LAYERS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], int]] = {
    "fully connected, 128 to 64": ("fully_connected", _DENSE, (2, 128), (64, 128), 0),
    "1x1 convolution, 64 to 64, 4x4 pixels": ("conv_2d", _WINDOW, (2, 4, 4, 64), (64, 1, 1, 64), 0),
    "3x3 convolution, 16 to 32, 4x4 pixels": ("conv_2d", _WINDOW, (2, 4, 4, 16), (32, 3, 3, 16), 0),
    "3x3 depthwise, 64, 5x5 pixels": (
        "depthwise_conv_2d", _WINDOW | {"depth_multiplier": 1}, (2, 5, 5, 64), (1, 3, 3, 64), 3
    ),
}  # fmt: skip
_MACHINES: tuple[tuple[str, Optimize], ...] = (
    *((name, "size") for name in ("cortex_m0", "cortex_m3", "cortex_m4", "cortex_m55", "riscv32", "atmega328p")),
    ("cortex_m4", "balanced"),
)


_SIZES = ("constants, 8 bits", "4 bits", "program, 8 bits", "4 bits")


def _layer(label: str) -> dict[int, Graph]:
    """By bits of its weights, which are the same codes."""
    op, attrs, image, kernel, axis = _LAYERS[label]
    sample = weighted_sample(
        np.random.default_rng(0), label, attrs, image, kernel, channel_axis=axis, weights="int4",
        per_channel=op != "fully_connected", output=(0.2, -128),
    )  # fmt: skip
    weight = sample.qparams["weight"]
    assert weight is not None
    wide = replace(sample, qparams={**sample.qparams, "weight": replace(weight, dtype="int8")})
    return {bits: sample_graph(ROWS[op], each) for bits, each in ((4, sample), (8, wide))}


def _counted() -> Iterator[dict[str, Any]]:
    for label in _LAYERS:
        for name, build in _MACHINES:
            machine = MACHINES[name]
            if reason := available(machine):
                raise BadConfiguration(where="four_bits", expected="an emulator", got="none", remedy=reason)
            if name == "atmega328p" and "fully" not in label:
                continue  # 2 KB of RAM hold none of the others
            for bits, graph in _layer(label).items():
                found = replayed(graph, machine, 4, build)
                yield {"layer": label, "machine": name, "build": build, "bits": bits, "count": round(found.median),
                       "unit": found.unit, "constants": _constants(graph, machine.cpu, build),
                       "flash": found.flash}  # fmt: skip


def _constants(graph: Graph, cpu: str = "host", build: Optimize = "size") -> int:
    """Bytes of plain C."""
    return sum(c_source("net", c_network(graph, cpu, build)).constant_bytes.values())


def _network(reference: Reference, bits: int) -> Graph:
    torch.manual_seed(0)
    x = torch.randn(16, *reference.shape)
    net = reference.network().eval()
    network = qtorch.prepare(net, x[:1], qtorch.QuantizationConfig(weight_bits=bits))  # type: ignore[arg-type]
    qtorch.calibrate(network, [x])
    return integer_graph(network.eval())


def _measure() -> dict[str, Any]:
    networks = []
    for reference in REFERENCES:
        for bits in (8, 4):
            graph = _network(reference, bits)
            networks.append({"network": reference.label, "bits": bits, "constants": _constants(graph),
                             "file": len(write_tflite(graph))})  # fmt: skip
    return {"layers": list(_counted()), "networks": networks}


def _table(found: dict[str, Any]) -> list[str]:
    layers: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
    for row in found["layers"]:
        layers.setdefault((row["layer"], row["machine"], row["build"]), {})[row["bits"]] = row
    networks: dict[str, dict[int, dict[str, Any]]] = {}
    for row in found["networks"]:
        networks.setdefault(row["network"], {})[row["bits"]] = row
    return [
        *markdown_table(
            ["layer", "machine", "build", "8 bits", "4 bits", "times", *_SIZES],
            [
                [label, machine, build, f"{by[8]['count']:,} {by[8]['unit']}", f"{by[4]['count']:,}",
                 f"{by[4]['count'] / by[8]['count']:.2f}", *(f"{by[bits][what]:,}" for what in ("constants", "flash")
                 for bits in (8, 4))]
                for (label, machine, build), by in layers.items()
            ],
        ),
        "",
        *markdown_table(
            ["network", "constants of plain C, 8 bits", "4 bits", ".tflite, 8 bits", "4 bits"],
            [
                [name, *(f"{by[bits][what]:,}" for what in ("constants", "file") for bits in (8, 4))]
                for name, by in networks.items()
            ],
        ),
    ]  # fmt: skip


FOUR_BITS = Suite("four_bits", __doc__ or "", _measure, _table)
