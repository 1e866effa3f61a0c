"""The recipes' networks in plain C on emulated microcontrollers: cycles or instructions, flash, RAM and stack.

Every output is checked. MLPerf Tiny's networks are measured as :mod:`benchmarks.files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.emulated_networks import trained
from benchmarks.rounds import absent_lines
from benchmarks.suite import Suite, markdown_table
from export.c.network import c_network
from export.c.optimize import Optimize
from export.cost import machines as machine_profile
from export.cost.macs import all_multiply_accumulates
from export.graph.ir import Graph
from firmware.emulation import MACHINES, Machine, available
from qtorch.errors import ParityError

__all__ = ["FIRMWARE"]

_SAMPLES = 256
#: Ways to build a network for a machine.
_BUILDS: tuple[Optimize, ...] = ("size", "balanced", "speed")
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
    for name, graph in trained():
        networks.append({"network": name, **_limits(graph)})
        for machine in here:
            for build in _BUILDS:
                try:
                    rows.append({"network": name, "build": build, **_cost(graph, machine, _SAMPLES, build)})
                except (RuntimeError, ParityError) as error:
                    absent.append({"what": f"{name}, {machine.name}, {build}", "why": str(error).splitlines()[0]})
    return {"networks": networks, "costs": rows, "absent": absent}


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


def _cost(graph: Graph, machine: Machine, samples: int, build: Optimize) -> dict[str, Any]:
    """Of one inference; every output is the reference's.

    Raises:
        RuntimeError: it can't be built, does not fit or does not end.
        ParityError: an output differs.
    """
    found = machine_profile.replayed(graph, machine, samples, build)
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
        "memory": c_network(graph, machine.cpu, build).plan.peak,
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
    return [*markdown_table(heads, rows), "", *_limit_line(found), *absent_lines(found)]


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


FIRMWARE = Suite("firmware", __doc__, _measure, _table)
