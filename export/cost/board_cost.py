"""What one inference takes on the board that an export is made for: counted where its processor can be emulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from export.boards import Board, machine_of
from export.c.optimize import NO_LIMITS, Limits, Optimize
from export.cost.board_estimate import estimates
from export.cost.machines import on_machine
from export.graph.ir import Graph

__all__ = ["board_cost", "counted_in_words", "cycles_in_words", "span", "time_in_words"]

#: Random inputs that are run: what a network costs hardly depends on them.
_SAMPLES = 2


#: What stands before a time, by what it is.
TIME_BOUND = {
    "counted": "",
    "published": "",
    "without waits": "without waiting for flash ",
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
    return f"{sentence}{cycles_in_words(counted)}, {time_in_words(counted)} at {counted['clock_hz'] / 1e6:g} MHz"


def time_in_words(counted: Mapping[str, Any]) -> str:
    """Milliseconds, from the least to the most, with what they are.

    Example:
        >>> time_in_words({"time_is": "published", "milliseconds": 3.21, "most_milliseconds": 3.55})
        '3.21 to 3.55 ms'
    """
    least, most = counted["milliseconds"], counted.get("most_milliseconds")
    bound = TIME_BOUND[counted["time_is"]]
    if most is None or f"{most:.3g}" == f"{least:.3g}":
        return f"{bound}{least:.3g} ms"
    if counted["time_is"] == "lower bound":
        return f"{bound}{least:.3g} ms, {most:.3g} with one instruction at a time"
    return f"{bound}{least:.3g} to {most:.3g} ms"


def cycles_in_words(counted: Mapping[str, Any]) -> str:
    """Cycles of counted instructions, as a clause; empty where there are none.

    Example:
        >>> cycles_in_words({"cycles": {"core": "cortex-m4", "least": 1200.0, "most": 1500.0}})
        ', 1,200 to 1,500 cycles of a cortex-m4'
    """
    cycles = counted.get("cycles")
    return f", {span(cycles['least'], cycles['most'])} cycles of a {cycles['core']}" if cycles else ""


def span(least: float, most: float | None) -> str:
    """Whole numbers from the least to the most.

    Example:
        >>> span(1200, 1500), span(12, 12), span(12, None)
        ('1,200 to 1,500', '12', 'at least 12')
    """
    if most is None:
        return f"at least {round(least):,}"
    return f"{round(least):,}" if round(least) == round(most) else f"{round(least):,} to {round(most):,}"


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
        ``time_is`` and ``assumptions``, with ``cycles`` of the instructions (or why there are none, ``uncounted``) and
        ``most_milliseconds`` where they are known; or ``absent``: why nothing was counted.

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
    cycles = counted.cycles_of(board.core)
    return {
        "board": board.name,
        "machine": counted.machine,
        "unit": counted.unit,
        "clock_hz": board.clock_hz,
        "median": counted.median,
        "stack_bytes": counted.stack,
        **({"cycles": asdict(cycles)} if cycles is not None else {}),
        **({"uncounted": counted.uncounted} if counted.uncounted else {}),
        "milliseconds": estimate.milliseconds,
        **({"most_milliseconds": estimate.most} if estimate.most is not None else {}),
        "time_is": estimate.time_is,
        "assumptions": estimate.assumptions,
    }
