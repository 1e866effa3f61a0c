"""The plain C form of an export: the files for a board, whether they fit on it, and what they take."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.boards import HOST, Board, machine_of
from export.c.network import CNetwork, c_network
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
        files: text by file name.
        figures: bytes of constants, of working memory, the least working memory there could be, and bytes of inputs and
            outputs.
    """

    files: Mapping[str, str]
    figures: Mapping[str, Any]


def c_model(
    name: str,
    graph: Graph,
    board: Board = HOST,
    speed: bool = False,
    layouts: Sequence[TensorLayout] = (),
) -> CModel:
    """A graph of integers as plain C.

    Args:
        name: the model's, an identifier.
        graph: to be computed.
        board: whose processor and memory count; the host stands for any, without limits.
        speed: take more flash where that saves time.
        layouts: see :func:`export.c.source.c_source`.

    Raises:
        UnsupportedLayer: an op has no kernel in C.
        BadConfiguration: the board's flash or RAM does not hold the network, or its processor can't address it.
    """
    network, source = fitting_source(name, graph, board, speed, layouts)
    figures: dict[str, Any] = {
        "constant_bytes": sum(source.constant_bytes.values()),
        "scratch_bytes": source.scratch_bytes,
        "scratch_lower_bound": network.bound,
        **({"state_bytes": source.state_bytes} if source.state_bytes else {}),
        "end_bytes": _end_bytes(graph),
        "requantization": dict(sorted(Counter(source.forms.values()).items())),
    }
    program = _compiled(board, name, source)
    if program is not None:
        figures |= {"board": board.name, "program_flash_bytes": program.flash, "program_ram_bytes": program.ram}
        _require_program_fits(board, program, figures["constant_bytes"])
    return CModel(source.files, figures)


def fitting_source(
    name: str, graph: Graph, board: Board, speed: bool = False, layouts: Sequence[TensorLayout] = ()
) -> tuple[CNetwork, CSource]:
    """The first part of :func:`c_model`, which compiles nothing; arguments and errors are the same."""
    network = c_network(graph, board.cpu, speed)
    source = c_source(name, network, layouts)
    _require_fit(board, network, source)
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


def _require_fit(board: Board, network: CNetwork, source: CSource) -> None:
    """Constants against flash; working memory, inputs and outputs against RAM. Code and stack come on top of either."""
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
    ends = _end_bytes(graph)
    if board.ram is not None and source.scratch_bytes + source.state_bytes + ends > board.ram:
        index = max(network.needed, key=lambda i: network.needed[i])
        if ends > board.ram:
            raise BadConfiguration(
                where=f"export.target {board.name}",
                expected=f"inputs and outputs of at most {board.ram:,} bytes, the RAM ({board.description})",
                got=f"{ends:,} bytes, without any working memory",
                remedy="choose a larger board, or smaller inputs and outputs",
            )
        raise BadConfiguration(
            where=f"export.target {board.name}",
            expected=f"at most {board.ram:,} bytes of RAM ({board.description})",
            got=f"{source.scratch_bytes:,} bytes of working memory, {network.needed[index]:,} of them at "
            f"{_node(graph, index)}, {source.state_bytes:,} of states, and {ends:,} of inputs and outputs",
            remedy="make that layer's tensors smaller, pool or stride earlier, or choose a larger board",
        )


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


def _end_bytes(graph: Graph) -> int:
    """Of the inputs and outputs, which the caller keeps."""
    return sum(graph.values[name].bytes for name in (*graph.inputs, *graph.outputs))
