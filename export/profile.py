"""What one inference takes: per layer from the graph, in all by running the plain C on emulated machines.

Instructions and cycles are counted, never guessed: a machine whose tools are absent, or that can't hold the network,
says so. From them :func:`estimates` makes milliseconds and microjoules for boards, with the assumptions beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.arena import smallest_arena
from export.boards import BOARDS, CLOCKS, SUPPLIES, Board, Supply
from export.c_network import c_network
from export.c_source import c_source
from export.engines import tflm_available
from export.interpret import interpret
from export.ir import Graph, Node
from export.parity import corner_codes
from export.tflite import raw_bytes
from firmware.emulation import MACHINES, EmulationFailure, Machine, Options, available, replay
from qtorch.errors import ParityError, UnsupportedLayer

__all__ = [
    "Estimate",
    "LayerProfile",
    "MachineProfile",
    "Profile",
    "all_machines",
    "estimates",
    "multiply_accumulates",
    "on_machine",
    "profile",
    "replayed",
]


@dataclass(frozen=True)
class LayerProfile:
    """One node.

    Attributes:
        index: in the order of execution.
        op: its row's name.
        name: of its first output.
        output: that tensor's shape.
        macs: multiply-accumulates, those with padding included.
        parameters: numbers in its constants.
        constant_bytes: that these take in the file; constants that layers share count for each.
        activation_bytes: of its run-time inputs and outputs together.
        counted: instructions or cycles by machine, of this layer alone in a network of its own.
    """

    index: int
    op: str
    name: str
    output: tuple[int, ...]
    macs: int
    parameters: int
    constant_bytes: int
    activation_bytes: int
    counted: Mapping[str, float]


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


@dataclass(frozen=True)
class Estimate:
    """Time and energy of one inference on a board, computing in plain C.

    Attributes:
        board: key of :data:`export.boards.BOARDS`.
        milliseconds: ``None`` if nothing was counted for its processor.
        microjoules: ``None`` if there is no current.
        assumptions: in words, each of them.
    """

    board: str
    milliseconds: float | None
    microjoules: float | None
    assumptions: str


@dataclass(frozen=True)
class Profile:
    """One model.

    Attributes:
        model_bytes: of the file.
        arena_bytes: the smallest that TFLite Micro accepts on this machine; ``None`` if there is none.
        arena_absent: why there is none; empty if there is.
        layers: in the order of execution.
        machines: all that count something.
        boards: all asked for.
    """

    model_bytes: int
    arena_bytes: int | None
    arena_absent: str
    layers: tuple[LayerProfile, ...]
    machines: tuple[MachineProfile, ...]
    boards: tuple[Estimate, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates in all."""
        return sum(layer.macs for layer in self.layers)


def profile(
    model: bytes,
    graph: Graph,
    machines: Sequence[Machine],
    boards: Sequence[Board] = tuple(BOARDS.values()),
    *,
    samples: int = 8,
    speed: bool = False,
    each_layer: bool = False,
    supply: Supply | None = None,
    clock_hz: int | None = None,
    cycles_per_instruction: float = 1.0,
) -> Profile:
    """Measure a model.

    Args:
        model: the file.
        graph: what it holds, with names to show.
        machines: to count on; those without a counter are passed over.
        boards: to estimate.
        samples: that each machine computes; random codes.
        speed: build the C for speed rather than size.
        each_layer: also count every layer by itself, which takes a build and a run for each.
        supply: current of all boards, instead of the published ones.
        clock_hz: of all boards, instead of their own.
        cycles_per_instruction: where instructions were counted.

    Raises:
        ParityError: a machine computed something else than the reference.
    """
    counting = [machine for machine in machines if machine.unit is not None]
    core = _integer_core(graph)
    found = tuple(on_machine(core, machine, samples, speed) for machine in counting)
    running = [machine for machine, each in zip(counting, found, strict=True) if not each.absent]
    layers = tuple(
        _layer(graph, i, node, running if each_layer else [], samples, speed) for i, node in enumerate(graph.nodes)
    )
    arena_bytes, arena_absent = _arena(model)
    return Profile(
        model_bytes=len(model),
        arena_bytes=arena_bytes,
        arena_absent=arena_absent,
        layers=layers,
        machines=found,
        boards=estimates(found, boards, supply, clock_hz, cycles_per_instruction),
    )


def _arena(model: bytes) -> tuple[int | None, str]:
    """The smallest arena, or why there is none."""
    if not tflm_available():
        return None, "TFLite Micro's Python package has wheels for Linux x86-64 only; profile there"
    try:
        return smallest_arena(model), ""
    except MemoryError as refused:
        return None, str(refused)


def multiply_accumulates(graph: Graph, node: Node) -> int:
    """Products that a layer with weights sums up, those with padding included; 0 of any other."""
    if node.op not in ("fully_connected", "conv_2d", "depthwise_conv_2d", "transpose_conv"):
        return 0
    roles = node.input_roles()
    weight, source = graph.values[roles["weight"]].shape, graph.values[roles["input"]].shape
    output = graph.values[node.output].shape
    if node.op == "transpose_conv":  # every input meets every weight of its channel, whatever is cut off later
        return int(np.prod(source)) * int(np.prod(weight)) // weight[3]
    per_output = weight[1] * weight[2] if node.op == "depthwise_conv_2d" else int(np.prod(weight[1:]))
    return per_output * int(np.prod(output))


def replayed(graph: Graph, machine: Machine, samples: int, speed: bool) -> MachineProfile:
    """A graph of one int8 input and output in C on a machine.

    Raises:
        UnsupportedLayer: an op has no kernel in C.
        EmulationFailure: it does not fit, or did not end.
        ParityError: an output differs from the reference's.
    """
    source = c_source("net", c_network(graph, machine.cpu, speed))
    codes = corner_codes(graph, samples)[0][-samples:]
    expected = interpret(graph, (codes,))[graph.outputs[0]]
    flat = [array.reshape(len(codes), -1) for array in (codes, expected)]
    found = replay(machine, source.files, "net", flat[0], flat[1], Options(seconds=300))
    if found.first is not None:
        raise ParityError(f"{machine.name} differs from the reference on {found.mismatches} samples: {found.first}")
    assert found.cost is not None
    macs = sum(multiply_accumulates(graph, node) for node in graph.nodes)
    return MachineProfile(
        machine=machine.name,
        cpu=machine.cpu,
        unit=found.cost.unit,
        median=found.cost.median,
        most=found.cost.max,
        per_mac=found.cost.median / macs if macs else None,
        flash=found.firmware.flash if found.firmware else 0,
        ram=found.firmware.ram if found.firmware else 0,
        stack=found.stack or 0,
    )


def estimates(
    machines: Sequence[MachineProfile],
    boards: Sequence[Board],
    supply: Supply | None = None,
    clock_hz: int | None = None,
    cycles_per_instruction: float = 1.0,
) -> tuple[Estimate, ...]:
    """Milliseconds and microjoules: cycles over the clock; current times voltage times that time.

    Args:
        machines: what was counted.
        boards: to estimate; ``host`` is passed over.
        supply: of all boards; the published ones if ``None``.
        clock_hz: of all boards; their own if ``None``.
        cycles_per_instruction: where instructions were counted; 1 without waiting for flash is the least on a
            processor that issues one at a time.
    """
    return tuple(
        _estimate(
            machines, each, supply or SUPPLIES.get(each.name), clock_hz or CLOCKS[each.name], cycles_per_instruction
        )
        for each in boards
        if each.name in CLOCKS
    )


def _estimate(
    machines: Sequence[MachineProfile], board: Board, supply: Supply | None, clock_hz: int, per_instruction: float
) -> Estimate:
    same = [found for found in machines if found.cpu == board.cpu]
    counted = next((found for found in same if not found.absent), None)
    if counted is None:
        known = any(machine.cpu == board.cpu for machine in all_machines())
        why = "its processor was left out" if known else f"no emulated machine has its processor, {board.cpu}"
        why = same[0].absent if same else why
        return Estimate(board.name, None, None, why)
    factor = 1.0 if counted.unit == "cycles" else per_instruction
    seconds = counted.median * factor / clock_hz
    said = f"{counted.unit} of {counted.machine} at {clock_hz / 1e6:g} MHz"
    if counted.unit == "instructions":
        said += f", {factor:g} cycle(s) per instruction, no waiting for flash"
    if supply is None:
        return Estimate(board.name, 1e3 * seconds, None, f"{said}; no current is known: give --milliamps and --volts")
    published = supply.clock_hz or clock_hz
    joules = supply.milliamps * 1e-3 * clock_hz / published * supply.volts * seconds
    said += f"; {supply.milliamps:g} mA at {supply.volts:g} V and {published / 1e6:g} MHz ({supply.source})"
    if published != clock_hz:
        said += ", proportional to the clock"
    return Estimate(board.name, 1e3 * seconds, 1e6 * joules, said)


def on_machine(graph: Graph, machine: Machine, samples: int, speed: bool) -> MachineProfile:
    """See :func:`replayed`; a machine that is not there, or can't take the graph, says so in what it gives.

    Raises:
        ParityError: an output differs from the reference's.
    """
    absent = available(machine) or _refusal(graph)
    if absent is None:
        try:
            return replayed(graph, machine, samples, speed)
        except (UnsupportedLayer, EmulationFailure) as error:
            absent = str(error).splitlines()[0]
    return MachineProfile(machine.name, machine.cpu, machine.unit or "", absent=absent)


def _integer_core(graph: Graph) -> Graph:
    """What lies between a float interface's QUANTIZE and DEQUANTIZE, which is what is exported as C; else the graph."""
    behind = {node.inputs[0]: node.output for node in graph.nodes if node.op == "quantize"}
    before = {node.output: node.inputs[0] for node in graph.nodes if node.op == "dequantize"}
    if not (set(graph.inputs) <= set(behind) and set(graph.outputs) <= set(before)):
        return graph
    ends = {*graph.inputs, *graph.outputs}
    return Graph(
        {name: value for name, value in graph.values.items() if name not in ends},
        tuple(node for node in graph.nodes if ends.isdisjoint((*node.inputs, *node.outputs))),
        tuple(behind[name] for name in graph.inputs),
        tuple(before[name] for name in graph.outputs),
    )


def _refusal(graph: Graph) -> str | None:
    """Why the replay can't run a graph."""
    ends = [graph.values[name].dtype for name in (*graph.inputs, *graph.outputs)]
    if len(ends) == 2 and set(ends) == {"int8"}:
        return None
    return f"the replay takes one int8 input and one int8 output, not {', '.join(ends)}"


def _layer(
    graph: Graph, index: int, node: Node, machines: Sequence[Machine], samples: int, speed: bool
) -> LayerProfile:
    names = dict.fromkeys((*node.inputs, *node.outputs))
    constants = [value for name in names if (value := graph.values[name]).data is not None]
    running = [graph.values[name] for name in names if graph.values[name].data is None]
    counted = {}
    alone = _alone(graph, node)
    for machine in machines:
        found = on_machine(alone, machine, samples, speed) if alone is not None else None
        if found is not None and not found.absent:
            counted[machine.name] = found.median
    return LayerProfile(
        index=index,
        op=node.op,
        name=node.output,
        output=graph.values[node.output].shape,
        macs=multiply_accumulates(graph, node),
        parameters=sum(int(np.prod(value.shape)) for value in constants),
        constant_bytes=sum(len(raw_bytes(value.data, value.dtype)) for value in constants if value.data is not None),
        activation_bytes=sum(int(np.prod(v.shape)) * np.dtype(v.array_dtype).itemsize for v in running),
        counted=counted,
    )


def _alone(graph: Graph, node: Node) -> Graph | None:
    """A graph of one node; ``None`` if it has several run-time inputs or outputs."""
    inputs = tuple(dict.fromkeys(name for name in node.inputs if graph.values[name].data is None))
    if len(inputs) != 1 or len(node.outputs) != 1:
        return None
    values = {name: graph.values[name] for name in (*node.inputs, *node.outputs)}
    return Graph(values, (node,), inputs, node.outputs)


def all_machines() -> tuple[Machine, ...]:
    """Every machine that counts."""
    return tuple(machine for machine in MACHINES.values() if machine.unit is not None)
