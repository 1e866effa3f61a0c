"""The plain C of a graph on one emulated machine: instructions or cycles, bytes, every output compared.

Nothing is guessed: a machine whose tools are absent, or that can't hold the network, says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from export.c.network import c_network
from export.c.optimize import NO_LIMITS, Limits, Optimize
from export.c.source import c_source
from export.cost.macs import all_multiply_accumulates
from export.cost.rig_ends import NAME, rig_sources, rows_of_bytes
from export.graph.interpret import interpret_sequence
from export.graph.ir import Graph
from export.parity.outputs import corner_codes
from firmware.emulation import (
    MACHINES,
    ROOMIER,
    Cycles,
    DidNotBuild,
    EmulationFailure,
    Machine,
    Options,
    Replay,
    available,
    replay,
)
from qtorch.errors import ParityError, UnsupportedLayer
from qtorch.progress import stage

__all__ = [
    "MachineProfile",
    "all_machines",
    "on_machine",
    "replayed",
]


@dataclass(frozen=True)
class MachineProfile:
    """The plain C on one emulated machine; every output was equal to the reference's.

    Attributes:
        machine: key of :data:`firmware.emulation.MACHINES`; a float interface is left out, as in an export.
        cpu: as boards name it.
        unit: ``"instructions"`` or ``"cycles"``.
        median: units of one inference.
        most: of the slowest sample.
        per_mac: median over multiply-accumulates; ``None`` without any.
        flash: bytes of the smallest program that holds the model, start-up code included.
        ram: bytes of that program's data.
        stack: bytes.
        absent: why there are no figures, with the remedy; empty if there are.
        cycles: of one inference on each processor that executes these instructions, first the machine's own, without
            waiting for memory; empty where cycles were counted, or where instructions can't be told apart.
        uncounted: why they can't, with the remedy.
        layers: what is counted by node of the graph, where that was asked for; what no node takes has the number -1,
            and what moves or is moved away takes nothing. They add up to the mean of the samples.
        layer_cycles: the least cycles by node, on the machine's own processor.
    """

    machine: str
    cpu: str
    unit: str
    median: float = 0.0
    most: int = 0
    per_mac: float | None = None
    flash: int = 0
    ram: int = 0
    stack: int = 0
    absent: str = ""
    cycles: tuple[Cycles, ...] = ()
    uncounted: str = ""
    layers: Mapping[int, float] = field(default_factory=dict)
    layer_cycles: Mapping[int, float] = field(default_factory=dict)

    def cycles_of(self, core: str) -> Cycles | None:
        """On a processor; on the machine's own if ``core`` is empty; ``None`` where that is not known."""
        return next((each for each in self.cycles if core in ("", each.core)), None)


def all_machines() -> tuple[Machine, ...]:
    """Every machine that counts."""
    return tuple(machine for machine in MACHINES.values() if machine.unit is not None)


def replayed(
    graph: Graph, machine: Machine, samples: int, optimize: Optimize, codes: np.ndarray | None = None,
    limits: Limits = NO_LIMITS, *, by_layer: bool = False,
) -> MachineProfile:  # fmt: skip
    """A graph in C on a machine; ends that are not one int8 tensor each are copied to and from, which counts.

    Args:
        graph: of integers.
        machine: one that counts.
        samples: how many random ones it computes.
        optimize: what the C is made for.
        codes: ``[samples * rows, *shape[1:]]`` of its one input, in place of random ones; a sample has its rows.
        limits: that its kernels are chosen for.
        by_layer: also count by node.

    Raises:
        UnsupportedLayer: an op has no kernel in C.
        EmulationFailure: it does not fit, or did not end.
        ParityError: an output differs from the reference's.
    """
    network = c_network(graph, machine.cpu, optimize, limits=limits)
    inputs = (codes,) if codes is not None else _drawn(graph, samples)
    count = len(inputs[0]) // graph.values[graph.inputs[0]].rows
    computed = interpret_sequence(graph, inputs)
    flat = (rows_of_bytes(inputs, count), rows_of_bytes([computed[name] for name in graph.outputs], count))
    ends = [graph.values[name].dtype for name in (*graph.inputs, *graph.outputs)]
    name = "net" if ends == ["int8", "int8"] else NAME
    files = c_source("net", network, marked=by_layer).files
    sources = dict(files) if name == "net" else {**files, **rig_sources(graph, "net")}
    try:
        run = _run(machine, sources, name, flat)
    except DidNotBuild:
        if machine.name not in ROOMIER:
            raise
        machine = ROOMIER[machine.name]
        run = _run(machine, sources, name, flat)
    assert run.cost is not None
    steps = run.counted if by_layer else None
    layers = _by_node(graph, {} if steps is None else {step: each.count for step, each in steps.steps.items()})
    cycled = {} if steps is None else {i: each.cycles[0].least for i, each in steps.steps.items() if each.cycles}
    macs = all_multiply_accumulates(graph)
    return MachineProfile(
        machine=machine.name,
        cpu=machine.cpu,
        unit=run.cost.unit,
        median=run.cost.median,
        most=run.cost.max,
        per_mac=run.cost.median / macs if macs else None,
        flash=run.firmware.flash if run.firmware else 0,
        ram=run.firmware.ram if run.firmware else 0,
        stack=run.stack or 0,
        cycles=run.counted.cycles if run.counted is not None else (),
        uncounted=run.uncounted,
        layers=layers,
        layer_cycles=_by_node(graph, cycled),
    )


def _drawn(graph: Graph, samples: int) -> tuple[np.ndarray, ...]:
    """Random codes of each input."""
    drawn = corner_codes(graph, samples)
    rows = (graph.values[name].rows for name in graph.inputs)
    return tuple(codes[-samples * each :] for codes, each in zip(drawn, rows, strict=True))


def _run(machine: Machine, sources: Mapping[str, str], name: str, flat: Sequence[np.ndarray]) -> Replay:
    # What ends an endless program is its wall time: an AVR's cycles have no limit of their own.
    options = Options(seconds=300, cycles=2**62)
    run = replay(machine, sources, name, flat[0], flat[1], options)
    if run.first is not None:
        raise ParityError(f"{machine.name} differs from the reference on {run.mismatches} samples: {run.first}")
    return run


def _by_node(graph: Graph, steps: Mapping[int, float]) -> dict[int, float]:
    """Counts of steps by node: one that no call computes takes nothing, what is of none has the number -1."""
    if not steps:
        return {}
    nodes = range(len(graph.nodes))
    return {-1: sum(n for i, n in steps.items() if i not in nodes), **{i: steps.get(i, 0.0) for i in nodes}}


def on_machine(
    graph: Graph, machine: Machine, samples: int, optimize: Optimize, codes: np.ndarray | None = None,
    limits: Limits = NO_LIMITS, *, by_layer: bool = False,
) -> MachineProfile:  # fmt: skip
    """:func:`replayed`, or why it can't be.

    Raises:
        ParityError: an output differs from the reference's.
    """
    absent = available(machine) or _refusal(graph)
    if absent is None:
        try:
            with stage(f"plain C on {machine.name}"):
                return replayed(graph, machine, samples, optimize, codes, limits, by_layer=by_layer)
        except EmulationFailure as error:
            absent = error.reason
        except UnsupportedLayer as error:
            absent = str(error).splitlines()[0]
    return MachineProfile(machine.name, machine.cpu, machine.unit or "", absent=absent)


def _refusal(graph: Graph) -> str | None:
    """Why the replay can't run a graph."""
    ends = [graph.values[name].dtype for name in (*graph.inputs, *graph.outputs)]
    floats = [dtype for dtype in ends if dtype.startswith("float")]
    return f"the replay takes codes, and an input or output is {floats[0]}" if floats else None
