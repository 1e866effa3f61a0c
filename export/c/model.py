"""The plain C form of an export: the files for a board, whether they fit on it, and what they take."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.boards import HOST, Board, machine_of
from export.c.canaries import require_disjoint, require_sound_plan
from export.c.compiled import not_run
from export.c.memories import memories_of, require_memories_hold
from export.c.network import CNetwork, c_network
from export.c.optimize import Optimize
from export.c.source import LARGEST_AVR_TABLE, MOST_AVR_CONSTANTS, CSource, c_source
from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout
from firmware.emulation import Footprint, Options
from firmware.emulation.build import compile_model, weigh
from qtorch.errors import BadConfiguration

__all__ = ["CModel", "c_model", "fitting_source"]


@dataclass(frozen=True)
class CModel:
    """A network in C.

    Attributes:
        network: that was written.
        files: text by file name.
        figures: bytes of constants, of working memory, in which inputs and outputs lie, and the least there could be;
            what it is without rows, if it is computed row by row.
    """

    network: CNetwork
    files: Mapping[str, str]
    figures: Mapping[str, Any]

    def prove_plan(self, name: str, inputs: tuple[np.ndarray, ...]) -> None:
        """Look for tensors that lie on one another, and run the C with canaries where this machine's compiler takes its
        kernels; see :mod:`export.c.canaries`.

        Args:
            name: of the model, an identifier.
            inputs: codes, some samples of which are taken.

        Raises:
            ParityError: the working memory does not hold what it has to.
        """
        require_disjoint(self.network)
        cpu, graph = self.network.cpu, self.network.graph
        if cpu != "avr" and not not_run(graph, cpu):
            rows = [graph.values[name].rows for name in graph.inputs]
            some = tuple(array[: _PROVEN_ON * n] for array, n in zip(inputs, rows, strict=True))
            require_sound_plan(name, self.network, some)


#: Runs on which a memory plan is proven: bytes that are given away too early are so in every run.
_PROVEN_ON = 4


def c_model(
    name: str,
    graph: Graph,
    board: Board = HOST,
    optimize: Optimize = "size",
    layouts: Sequence[TensorLayout] = (),
    fast: int | None = None,
) -> CModel:
    """A graph of integers as plain C.

    Args:
        name: the model's, an identifier.
        graph: to be computed.
        board: whose processor and memory count; the host stands for any, without limits.
        optimize: what the C is made for.
        layouts: see :func:`export.c.source.c_source`.
        fast: bytes of the faster of two memories that it may take, the rest lies in the slower one; ``None``: all that
            the board has, if it has two.

    Raises:
        UnsupportedLayer: an op has no kernel in C.
        BadConfiguration: the board's flash or RAM does not hold the network, or its processor can't address it.
    """
    memories = memories_of(board, graph, fast)
    network, source = fitting_source(name, graph, board, optimize, layouts, fast)
    figures: dict[str, Any] = {
        "constant_bytes": sum(source.constant_bytes.values()),
        "scratch_bytes": source.scratch_bytes,
        "scratch_lower_bound": network.bound,
        **({"memories": memories.figures(network)} if memories else {}),
        **(_by_rows(network) if network.optimize == "ram" else {}),
        **({"state_bytes": source.state_bytes} if source.state_bytes else {}),
        "requantization": dict(sorted(Counter(source.forms.values()).items())),
    }
    program = _compiled(board, name, source)
    if program is not None:
        figures |= {"board": board.name, "program_flash_bytes": program.flash, "program_ram_bytes": program.ram}
        _require_program_fits(board, program, figures["constant_bytes"])
    return CModel(network, source.files, figures)


def _by_rows(network: CNetwork) -> dict[str, Any]:
    """The working memory without rows, and the node that needs most of what there is with them."""
    needed = network.needed()
    largest = _node(network.graph, max(needed, key=lambda index: needed[index])) if needed else "no operator"
    return {"whole_scratch_bytes": -(-network.whole // 4) * 4, "largest": largest}


def fitting_source(
    name: str, graph: Graph, board: Board, optimize: Optimize = "size", layouts: Sequence[TensorLayout] = (),
    fast: int | None = None,
) -> tuple[CNetwork, CSource]:  # fmt: skip
    """The first part of :func:`c_model`, which compiles nothing; arguments and errors are the same."""
    memories = memories_of(board, graph, fast)
    network = c_network(graph, board.cpu, optimize, memories.room if memories else None)
    source = c_source(name, network, layouts, second=board.second)
    _require_constants(board, network, source)
    if memories is not None and board.second is not None:
        require_memories_hold(board, memories, network, _node)
    else:
        _require_ram(board, network, source)
    if board.cpu == "avr":
        _require_addresses(board, network, source)
    return network, source


def _compiled(board: Board, name: str, source: CSource) -> Footprint | None:
    """What the board's compiler makes of the model; ``None`` where it is not installed."""
    machine = machine_of(board)
    if machine is None or shutil.which(machine.compiler) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return weigh(machine, compile_model(machine, source.files, name, Path(folder), Options()).objects)


def _require_program_fits(board: Board, program: Footprint, constants: int) -> None:
    """What the compiler made of the model alone; start-up code, the rest of the firmware and the stack come on top."""
    if board.flash is not None and program.flash > board.flash:
        raise BadConfiguration(
            where=f"export.target {board.name}",
            expected=f"at most {board.flash:,} bytes of flash, program and constants ({board.description})",
            got=f"{program.flash:,} bytes as compiled, {constants:,} of them constants",
            remedy="set export.optimize to size, make the network smaller, or choose a larger board",
        )


def _require_constants(board: Board, network: CNetwork, source: CSource) -> None:
    """Constants against flash; code comes on top."""
    graph = network.graph
    constants = sum(source.constant_bytes.values())
    if board.flash is not None and constants > board.flash:
        index = max(source.constant_bytes, key=lambda i: source.constant_bytes[i])
        raise BadConfiguration(
            where=f"export.target {board.name}",
            expected=f"at most {board.flash:,} bytes of flash, program and constants ({board.description})",
            got=f"{constants:,} bytes of constants, {source.constant_bytes[index]:,} of them for {_node(graph, index)}",
            remedy="make that layer narrower, or choose a larger board",
        )


def _require_ram(board: Board, network: CNetwork, source: CSource) -> None:
    """Working memory and states against RAM; the stack comes on top."""
    graph = network.graph
    held = source.scratch_bytes + source.state_bytes
    if board.ram is not None and held > board.ram:
        needed = network.needed()
        index = max(needed, key=lambda i: needed[i])
        states = f", and {source.state_bytes:,} of states" if source.state_bytes else ""
        raise BadConfiguration(
            where=f"export.target {board.name}",
            expected=f"at most {board.ram:,} bytes of RAM ({board.description})",
            got=f"{source.scratch_bytes:,} bytes of working memory, inputs and outputs in it, {needed[index]:,} at "
            f"{_node(graph, index)}{states}",
            remedy=_less_ram(board, graph, network, board.ram - source.state_bytes),
        )


def _less_ram(board: Board, graph: Graph, network: CNetwork, room: int) -> str:
    """What makes a network fit in so many bytes of working memory, as far as anything does."""
    other = "make that layer's tensors smaller, pool or stride earlier, or choose a larger board"
    if network.optimize == "ram":
        return other
    by_rows = c_network(graph, board.cpu, "ram").plan.peak
    if by_rows <= room:
        return f"set export.optimize to ram, which takes {by_rows:,} bytes of working memory; or {other}"
    less = f"export.optimize ram takes {by_rows:,} bytes, too many as well" if by_rows < network.plan.peak else (
        "export.optimize ram takes no less")  # fmt: skip
    return f"{other}; {less}"


def _require_addresses(board: Board, network: CNetwork, source: CSource) -> None:
    """Addresses of 16 bits: neither constants nor any array of them may be as large as the flash of some boards."""
    graph, constants = network.graph, sum(source.constant_bytes.values())
    if constants >= MOST_AVR_CONSTANTS:
        raise BadConfiguration(
            where=f"export.target {board.name}",
            expected=f"less than {MOST_AVR_CONSTANTS:,} bytes of constants, which addresses of 16 bits reach",
            got=f"{constants:,} bytes",
            remedy="make the network smaller, or choose a board with another processor",
        )
    for index, size in source.largest_table.items():
        if size > LARGEST_AVR_TABLE:
            raise BadConfiguration(
                where=f"export.target {board.name}",
                expected=f"at most {LARGEST_AVR_TABLE:,} bytes of constants in one array, as avr-gcc takes them",
                got=f"{size:,} bytes for {_node(graph, index)}",
                remedy="make that layer narrower, split it in two, or choose a board with another processor",
            )


def _node(graph: Graph, index: int) -> str:
    if index < 0:
        return "an output that is constant, or a state's contents"
    return f"{graph.nodes[index].op} {graph.nodes[index].output!r}"
