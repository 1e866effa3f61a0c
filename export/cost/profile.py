"""What one inference takes: per layer from the graph, in all by running the plain C on emulated machines.

Instructions and cycles are counted, never guessed: a machine whose tools are absent, or that can't hold the network,
says so. :mod:`export.cost.board_estimate` makes milliseconds and microjoules of them, with the assumptions beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.boards import BOARDS, Board, Supply
from export.c.optimize import Optimize
from export.cost.board_estimate import Estimate, estimates
from export.cost.layers import LayerProfile, file_layers, graph_layer
from export.cost.machines import MachineProfile, on_machine
from export.engines import tflm_absent
from export.engines.apart import EngineRefused
from export.graph.integer_core import integer_core
from export.graph.ir import Graph
from export.parity.foreign import Judged
from export.tflite.arena import smallest_arena
from export.tflite.summary import ModelSummary
from firmware.emulation import Machine
from qtorch.progress import steps

__all__ = ["Profile", "file_profile", "profile"]


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
        judged: what TFLite Micro said of the outputs before anything was counted; ``None`` where it was not asked.
    """

    model_bytes: int
    arena_bytes: int | None
    arena_absent: str
    layers: tuple[LayerProfile, ...]
    machines: tuple[MachineProfile, ...]
    boards: tuple[Estimate, ...]
    judged: Judged | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates in all layers that have a figure."""
        return sum(layer.macs or 0 for layer in self.layers)


def profile(
    model: bytes,
    graph: Graph,
    machines: Sequence[Machine],
    boards: Sequence[Board] | None = None,
    *,
    samples: int = 8,
    optimize: Optimize = "balanced",
    each_layer: bool = False,
    supply: Supply | None = None,
    clock_hz: int | None = None,
    cycles_per_instruction: float | None = None,
    judged: Judged | None = None,
) -> Profile:
    """Measure a model.

    Args:
        model: the file.
        graph: what it holds, with names to show.
        machines: to count on; those without a counter are passed over.
        boards: to estimate; all if ``None``.
        samples: that each machine computes; random codes.
        optimize: what the C is made for.
        each_layer: also count every layer, in the same program with marks between the layers: one more build and run.
        supply: current of all boards, instead of the published ones.
        clock_hz: of all boards, instead of their own.
        cycles_per_instruction: where instructions were counted; ``None``: 1, with what that leaves out said beside it.
        judged: what TFLite Micro said of the file.

    Raises:
        ParityError: a machine computed something else than the reference.
    """
    counting = [machine for machine in machines if machine.unit is not None]
    core = integer_core(graph)
    counted = tuple(
        on_machine(core, machine, samples, optimize, by_layer=each_layer)
        for machine in steps(counting, "counting on emulated machines")
    )
    place = {id(node): i for i, node in enumerate(core.nodes)}
    layers = tuple(
        graph_layer(
            graph,
            i,
            node,
            {machine.machine: machine.layers.get(at, 0.0) for machine in counted if machine.layers},
            {machine.machine: machine.layer_cycles.get(at, 0.0) for machine in counted if machine.layer_cycles},
        )
        for i, node in enumerate(graph.nodes)
        # What is left out of the C at float ends takes nothing there.
        for at in (place.get(id(node), len(core.nodes)),)
    )
    arena_bytes, arena_absent = _arena(model)
    wanted = tuple(BOARDS.values()) if boards is None else boards
    return Profile(
        model_bytes=len(model),
        arena_bytes=arena_bytes,
        arena_absent=arena_absent,
        layers=layers,
        machines=counted,
        boards=estimates(counted, wanted, supply, clock_hz, cycles_per_instruction),
        judged=judged,
    )


def file_profile(
    model: bytes, summary: ModelSummary, refused: str, machines: Sequence[Machine], boards: Sequence[Board]
) -> Profile:
    """What can be said of a file that holds what no row knows: its first subgraph's layers, and its arena.

    Args:
        model: the file.
        summary: of the file.
        refused: why it is no graph, and so no C.
        machines: of which that is said; those without a counter are passed over.
        boards: the same.
    """
    uncounted = tuple(MachineProfile(m.name, m.cpu, m.unit, absent=refused) for m in machines if m.unit is not None)
    arena_bytes, arena_absent = _arena(model)
    return Profile(
        model_bytes=len(model),
        arena_bytes=arena_bytes,
        arena_absent=arena_absent,
        layers=tuple(file_layers(summary.subgraphs[0])),
        machines=uncounted,
        boards=estimates(uncounted, boards),
    )


def _arena(model: bytes) -> tuple[int | None, str]:
    """The smallest arena, or why there is none."""
    if absent := tflm_absent():
        return None, absent
    try:
        return smallest_arena(model), ""
    except EngineRefused as refused:
        return None, refused.words
