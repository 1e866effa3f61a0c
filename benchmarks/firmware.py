"""Plain C on emulated microcontrollers: cycles or instructions, flash, RAM and stack, every output checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.emulated_networks import calibrated, trained
from benchmarks.mlperf_networks import REFERENCES
from benchmarks.rounds import absent_lines
from benchmarks.suite import Suite, markdown_table
from export.c.network import c_network
from export.cost import machines as machine_profile
from export.cost import profile
from export.cost.macs import all_multiply_accumulates
from export.graph.ir import Graph
from export.tflite.writer import write_tflite
from firmware.emulation import MACHINES, Machine, available
from qtorch.errors import ParityError

__all__ = ["FIRMWARE"]

#: What shows how much the weights' distribution matters.
_DRAWN = REFERENCES[0]
#: Where the MLPerf Tiny networks run.
_LARGE = ("cortex_m4", "cortex_m55")
#: Samples of small networks, and of those.
_SAMPLES, _FEW = 256, 4
#: Ways to build a network for a machine, and whether speed may cost flash.
_BUILDS = {"size": False, "speed": True}
#: Whose lines the table leaves out, for they are nearly those of the machine behind it; the JSON has them.
_TWINS = {"cortex_m7": "cortex_m4", "cortex_m33": "cortex_m4", "atmega32u4": "atmega328p"}

_MACHINES = {
    "cortex_m0": "Cortex-M0",
    "cortex_m3": "Cortex-M3",
    "cortex_m4": "Cortex-M4",
    "cortex_m55": "Cortex-M55",
    "riscv32": "RV32IMAC",
    "atmega328p": "ATmega328P",
}


def _measure() -> dict[str, Any]:
    counting = [machine for machine in MACHINES.values() if machine.unit is not None]
    absent = [{"what": machine.name, "why": why} for machine in counting if (why := available(machine))]
    here = [machine for machine in counting if available(machine) is None]
    networks, rows = [], []
    large = [machine for machine in here if machine.name in _LARGE]
    for name, graph, machines, samples in (
        *((name, graph, here, _SAMPLES) for name, graph in trained()),
        *((each.label, calibrated(each), large, _FEW) for each in REFERENCES),
        (f"{_DRAWN.label}, uniform weights", calibrated(_DRAWN, normal=False), large[:1], _FEW),
    ):
        networks.append({"network": name, **_limits(graph)})
        for machine in machines:
            for build in _BUILDS:
                try:
                    rows.append({"network": name, "build": build, **_cost(graph, machine, samples, build)})
                except (RuntimeError, ParityError) as error:
                    absent.append({"what": f"{name}, {machine.name}, {build}", "why": str(error).splitlines()[0]})
    layers = _layers(calibrated(_DRAWN), large[0]) if large else {}
    return {"networks": networks, "costs": rows, "layers": layers, "absent": absent}


def _layers(graph: Graph, machine: Machine) -> dict[str, Any]:
    """What every layer takes in a program of its own, built for speed; ``None`` for what has several inputs."""
    found = profile.profile(
        write_tflite(graph), graph, [machine], (), samples=_FEW, speed=_BUILDS["speed"], each_layer=True
    )
    counts = []
    for layer in found.layers:
        count = layer.counted.get(machine.name)
        count = None if count is None else round(count)
        counts.append({"op": layer.op, "name": layer.name, "products": layer.macs, "count": count})
    return {"network": _DRAWN.label, "machine": machine.name, "build": "speed", "layers": counts}


def _limits(graph: Graph) -> dict[str, Any]:
    """What no program can go below.

    ``smlad`` is the count of Cortex-M4's widest multiplication, which forms two products; ``least_memory`` are bytes of
    the tensors that are needed at once, and ``memory`` those of the plan.
    """
    products = all_multiply_accumulates(graph)
    network = c_network(graph)
    return {
        "products": products,
        "smlad": -(-products // 2),
        "memory": network.plan.peak,
        "least_memory": network.bound,
    }


def _cost(graph: Graph, machine: Machine, samples: int, build: str) -> dict[str, Any]:
    """Of one inference; every output is the reference's.

    Raises:
        RuntimeError: it can't be built, does not fit or does not end.
        ParityError: an output differs.
    """
    found = machine_profile.replayed(graph, machine, samples, _BUILDS[build])
    return {
        "machine": machine.name,
        "samples": samples,
        "unit": found.unit,
        "median": round(found.median),
        "most": found.most,
        "per_product": found.per_mac,
        "of_smlad": 2 * found.per_mac if machine.name == "cortex_m4" and found.per_mac else None,
        "flash": found.flash,
        "ram": found.ram,
        "stack": found.stack,
        "memory": c_network(graph, machine.cpu, _BUILDS[build]).plan.peak,
    }


def _table(found: dict[str, Any]) -> Sequence[str]:
    rows: list[Sequence[object]] = []
    least = {each["network"]: each["least_memory"] for each in found["networks"]}
    before: Mapping[str, Any] = {}
    for each in found["costs"]:
        # A build for speed that is the one for size has no line of its own.
        same = all(before.get(key) == each[key] for key in ("network", "machine", "median", "flash"))
        before = each
        if same or each["machine"] in _TWINS:
            continue
        rows.append(
            [
                each["network"],
                _MACHINES.get(each["machine"], each["machine"]),
                each["build"],
                f"{each['median']:,} {each['unit']}",
                f"{each['most']:,}",
                f"{each['per_product']:.2f}",
                *(f"{each[key]:,}" for key in ("flash", "ram", "stack")),
                f"{each['memory']:,} of {least[each['network']]:,}",
            ]
        )
    heads = ["network", "on", "build", "median", "most", "per product", "flash", "RAM", "stack", "working memory"]
    return [*markdown_table(heads, rows), "", *_limit_line(found), *_layer_lines(found), *absent_lines(found)]


def _limit_line(found: dict[str, Any]) -> list[str]:
    """Products of every network, and Cortex-M4 at its best beside its widest multiplication."""
    best: dict[str, float] = {}
    for each in found["costs"]:
        if each["of_smlad"]:
            best[each["network"]] = min(each["of_smlad"], best.get(each["network"], each["of_smlad"]))
    products = "; ".join(f"{each['network']} {each['products']:,}" for each in found["networks"])
    if not best:
        return [f"Products: {products}."]
    times = ", ".join(f"{each:.2f}" for each in best.values())
    return [
        f"Products: {products}. Cortex-M4's SMLAD forms two; the better build there takes {times} times as many "
        "instructions as that needs SMLADs, in the same order."
    ]


def _layer_lines(found: dict[str, Any]) -> list[str]:
    """The layers of one network, summed up by op."""
    measured = found["layers"]
    if not measured:
        return []
    parts = []
    for op in dict.fromkeys(layer["op"] for layer in measured["layers"]):
        same = [layer for layer in measured["layers"] if layer["op"] == op and layer["count"] is not None]
        count, products = (sum(layer[key] for layer in same) for key in ("count", "products"))
        if same:
            parts.append(f"{op.upper()} {count:,.0f}" + (f" ({count / products:.2f} per product)" if products else ""))
    machine = _MACHINES.get(measured["machine"], measured["machine"])
    said = f"{measured['network']} on {machine} for {measured['build']}, each layer by itself, summed up by op"
    return ["", f"{said}: {', '.join(parts)}."]


FIRMWARE = Suite("firmware", __doc__, _measure, _table)
