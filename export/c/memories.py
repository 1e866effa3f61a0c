"""The memories of a board that working memory may lie in, and whether they hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from export.boards import Board
from export.c.division import Room
from export.c.network import CNetwork, c_network, rows_that_do_not_help
from export.c.scratch_arrays import array_bytes
from export.c.written_calls import state_bytes
from export.graph.ir import Graph
from qtorch.errors import BadConfiguration

__all__ = ["Memories", "memories_of", "require_memories_hold", "rows_or"]


@dataclass(frozen=True)
class Memories:
    """Two of them.

    Attributes:
        fast: name of the faster one.
        slow: name of the other.
        room: bytes for working memory in each.
    """

    fast: str
    slow: str
    room: Room

    def figures(self, network: CNetwork) -> dict[str, Any]:
        """By memory, its name and what lies in it; of the fast one its room and the share of accesses that it has."""
        sizes = array_bytes(network.plan)
        fast = {"name": self.fast, "bytes": sizes.get("scratch", 0), "room": self.room.fast}
        return {
            "fast": {**fast, "accesses": round(network.in_fast(), 4)},
            "slow": {"name": self.slow, "bytes": sizes.get("scratch_slow", 0)},
        }


def memories_of(board: Board, graph: Graph, fast: int | None = None) -> Memories | None:
    """Both memories of a board, states subtracted from its RAM; ``None`` where there is one.

    Args:
        board: that has to hold the network.
        graph: whose states lie in the RAM too.
        fast: bytes of the fast one that are to be taken at most; where a board has one memory, it is divided so.

    Raises:
        BadConfiguration: the fast one has fewer bytes, or they are none.
    """
    second, states = board.second, state_bytes(graph)
    if fast is not None and fast < 0:
        raise BadConfiguration(
            where="fast_memory", expected="bytes, a whole number from 0 on", got=str(fast),
            remedy="leave it out, and the network takes what it needs",
        )  # fmt: skip
    if second is None:
        return None if fast is None else Memories("fast memory", "slow memory", Room(fast))
    ram = None if board.ram is None else max(0, board.ram - states)
    names = (second.name, "RAM") if second.faster else ("RAM", second.name)
    has, slow = (second.bytes, ram) if second.faster else (ram, second.bytes)
    if fast is not None and has is not None and fast > has:
        raise BadConfiguration(
            where="fast_memory",
            expected=f"at most {has:,} bytes, which {names[0]} of {board.name} has{_less_states(names[0], states)}",
            got=f"{fast:,}",
            remedy="leave it out, and the network takes what it needs",
        )
    most = has if fast is None else fast
    return None if most is None else Memories(*names, Room(most, slow))


def _less_states(name: str, states: int) -> str:
    return f" beside {states:,} of states" if states and name == "RAM" else ""


def require_memories_hold(
    board: Board, memories: Memories, network: CNetwork, called: Callable[[Graph, int], str]
) -> None:
    """See that what does not go into the fast memory goes into the slow one.

    Args:
        board: whose memories they are.
        memories: both.
        network: as it was divided.
        called: what to call a node in words, by its index.

    Raises:
        BadConfiguration: it does not; says how many bytes would do, and for which operator.
    """
    plan, room = network.plan, memories.room
    sizes = array_bytes(plan)
    slow = sizes.get("scratch_slow", 0)
    if room.slow is None or slow <= room.slow:
        return
    assert plan.fast is not None
    there = {name for name, offset in plan.offsets.items() if offset >= plan.fast}
    needed = network.needed(there)
    index = max(needed, key=lambda i: needed[i])
    other = (
        "make that layer's tensors smaller, pool or stride earlier, or choose a board that has "
        f"{slow:,} bytes of {memories.slow}"
    )
    rows = None if network.optimize == "ram" else c_network(network.graph, network.cpu, "ram", room)

    def taken(made: CNetwork) -> int:
        return array_bytes(made.plan).get("scratch_slow", 0)

    raise BadConfiguration(
        where=f"export.target {board.name}",
        expected=f"at most {room.slow:,} bytes of working memory in {memories.slow}, beside {room.fast:,} in "
        f"{memories.fast} ({board.description})",
        got=f"{slow:,} that {memories.fast} has no room for, {needed[index]:,} of them at "
        f"{called(network.graph, index)}",
        remedy=rows_or(other, network, rows, room.slow, taken, f"in {memories.slow}"),
    )


def rows_or(
    other: str, network: CNetwork, rows: CNetwork | None, most: int, taken: Callable[[CNetwork], int], there: str
) -> str:
    """A remedy for too little memory: rows where they suffice, else what they would take.

    Args:
        other: remedies beside rows.
        network: as it was asked for.
        rows: the same made for ``ram``, which was not asked for.
        most: bytes that there are.
        taken: bytes that a network takes of them.
        there: which bytes these are.
    """
    if rows is None:
        return other
    by_rows = taken(rows)
    if by_rows <= most:
        return f"set export.optimize to ram, which takes {by_rows:,} bytes {there}; or {other}"
    if by_rows < taken(network) or rows.plan.peak < network.plan.peak:
        return f"{other}; export.optimize ram takes {by_rows:,} bytes {there}, too many as well"
    return f"{other}; export.optimize ram takes no less: {rows_that_do_not_help(rows.by_rows)}"
