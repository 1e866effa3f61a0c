"""What one inference takes on the board that an export is made for: counted where its processor can be emulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from export.boards import Board, machine_of
from export.c.optimize import NO_LIMITS, Limits, Optimize
from export.cost.board_estimate import estimates
from export.cost.machines import on_machine
from export.graph.ir import Graph

__all__ = ["TIME_BOUND", "board_cost", "counted_in_words"]

#: Random inputs that are run: what a network costs hardly depends on them.
_SAMPLES = 2


#: What stands before a time, by what it is.
TIME_BOUND = {
    "counted": "",
    "lower bound": "at least ",
    "no bound": "at one cycle for each instruction ",
    "assumed": "",
}


def counted_in_words(counted: Mapping[str, Any]) -> str:
    """A sentence on what :func:`board_cost` gave; empty where nothing was counted."""
    if counted.get("median") is None:
        return ""
    sentence = f"One inference of the plain C: {round(counted['median']):,} {counted['unit']} of {counted['machine']}"
    if counted["milliseconds"] is None:
        return sentence
    clock = f"at {counted['clock_hz'] / 1e6:g} MHz"
    return f"{sentence}, {TIME_BOUND[counted['time_is']]}{counted['milliseconds']:.3g} ms {clock}"


def board_cost(
    graph: Graph,
    board: Board,
    optimize: Optimize = "balanced",
    codes: np.ndarray | None = None,
    limits: Limits = NO_LIMITS,
) -> dict[str, Any]:
    """Counted instructions or cycles of the plain C, and the time that follows from them; empty for the host.

    Args:
        graph: of integers.
        board: what it is made for.
        optimize: what the C was made for.
        codes: int8 inputs ``[samples, *shape[1:]]`` that are run; two random ones without them.
        limits: that its kernels were chosen for.

    Returns:
        ``board``, and either ``machine``, ``unit``, ``clock_hz``, ``median``, ``stack_bytes``, ``milliseconds``,
        ``time_is`` and ``assumptions``, or ``absent``: why nothing was counted.

    Raises:
        ParityError: the machine computed something else than the reference.
    """
    if board.cpu == "host":
        return {}
    machine = machine_of(board)
    if machine is None:
        return {"board": board.name, "absent": f"no emulated machine has its processor, {board.cpu}"}
    counted = on_machine(graph, machine, _SAMPLES, optimize, codes, limits)
    if counted.absent:
        return {"board": board.name, "absent": counted.absent}
    (estimate,) = estimates((counted,), (board,))
    return {
        "board": board.name,
        "machine": counted.machine,
        "unit": counted.unit,
        "clock_hz": board.clock_hz,
        "median": counted.median,
        "stack_bytes": counted.stack,
        "milliseconds": estimate.milliseconds,
        "time_is": estimate.time_is,
        "assumptions": estimate.assumptions,
    }
