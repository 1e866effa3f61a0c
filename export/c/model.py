"""The plain C form of an export: the files for a board, whether they fit on it, and what they take."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.boards import BOARDS, HOST, Board, machine_of
from export.c.canaries import require_disjoint, require_sound_plan
from export.c.compiled import not_run
from export.c.memories import memories_of, require_memories_hold, rows_or
from export.c.network import CNetwork, RowLoop, c_network, rows_that_do_not_help
from export.c.optimize import NO_LIMITS, Limits, Optimize
from export.c.source import LARGEST_AVR_TABLE, MOST_AVR_CONSTANTS, CSource, c_source
from export.c.written_calls import state_bytes
from export.graph.ir import Graph
from export.interface.tensor_layout import TensorLayout
from firmware.emulation import Footprint, Options
from firmware.emulation.build import compile_model, weigh
from qtorch.errors import BadConfiguration

__all__ = ["CModel", "c_model", "fitting_source", "limits_of"]


@dataclass(frozen=True)
class CModel:
    """A network in C.

    Attributes:
        network: that was written.
        files: text by file name.
        figures: bytes of constants, of working memory, in which inputs and outputs lie, and the least there could be;
            what it is without rows, if it is computed row by row; the choice of kernels, where there was one.
        limits: that its kernels were chosen for.
    """

    network: CNetwork
    files: Mapping[str, str]
    figures: Mapping[str, Any]
    limits: Limits = NO_LIMITS

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
    optimize: Optimize = "balanced",
    layouts: Sequence[TensorLayout] = (),
    fast: int | None = None,
    flash: int | None = None,
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
        flash: bytes that program and constants may take, in the place of what the board has.

    Raises:
        UnsupportedLayer: an op has no kernel in C.
        BadConfiguration: the board's flash or RAM does not hold the network, or its processor can't address it.
    """
    memories = memories_of(board, graph, fast)
    limits = limits_of(board, graph, flash, fast)
    network, source = _fitting(name, graph, board, optimize, layouts, fast, limits)
    program = _compiled(board, name, source)
    while program is not None and (less := _less(network, program, limits)) is not None:
        limits = less
        network, source = _fitting(name, graph, board, optimize, layouts, fast, limits)
        program = _compiled(board, name, source)
    named = {index: _node(graph, index) for index in range(len(graph.nodes))}
    figures: dict[str, Any] = {
        "constant_bytes": sum(source.constant_bytes.values()),
        "scratch_bytes": source.scratch_bytes,
        "scratch_lower_bound": network.bound,
        **({"memories": memories.figures(network)} if memories else {}),
        **(_by_rows(network) if network.optimize == "ram" else {}),
        **({"state_bytes": source.state_bytes} if source.state_bytes else {}),
        "requantization": dict(sorted(Counter(source.forms.values()).items())),
        **({"kernels": network.choice.as_json(named)} if network.choice and network.choice.layers else {}),
    }
    if program is not None:
        figures |= {"board": board.name, "program_flash_bytes": program.flash, "program_ram_bytes": program.ram}

        def smallest() -> int:
            least = _compiled(board, name, _fitting(name, graph, board, "size", layouts, fast, limits)[1])
            assert least is not None
            return least.flash

        _require_program_fits(board, program, network, source, limits, smallest)
    return CModel(network, source.files, figures, limits)


def _less(network: CNetwork, program: Footprint, limits: Limits) -> Limits | None:
    """Limits with less to spend, where a program is too large by code that the choice of kernels knows nothing of."""
    choice = network.choice
    if limits.flash is None or network.optimize in ("size", "speed") or choice is None:
        return None
    over = program.flash - limits.flash
    if over <= 0 or choice.flash <= choice.least:
        return None
    return replace(limits, spent=max(choice.flash - over, choice.least))


def _by_rows(network: CNetwork) -> dict[str, Any]:
    """The working memory without rows, and the node that needs most of what there is with them."""
    needed = network.needed()
    largest = _node(network.graph, max(needed, key=lambda index: needed[index])) if needed else "no operator"
    figures = {"whole_scratch_bytes": -(-network.whole // 4) * 4, "largest": largest}
    if any(isinstance(item, RowLoop) for item in network.run):
        return figures
    return {**figures, "rows": rows_that_do_not_help(network.by_rows)}


def fitting_source(
    name: str, graph: Graph, board: Board, optimize: Optimize = "balanced", layouts: Sequence[TensorLayout] = (),
    fast: int | None = None, flash: int | None = None,
) -> tuple[CNetwork, CSource]:  # fmt: skip
    """The first part of :func:`c_model`, which compiles nothing; arguments and errors are the same."""
    return _fitting(name, graph, board, optimize, layouts, fast, limits_of(board, graph, flash, fast))


def _fitting(
    name: str, graph: Graph, board: Board, optimize: Optimize, layouts: Sequence[TensorLayout], fast: int | None,
    limits: Limits,
) -> tuple[CNetwork, CSource]:  # fmt: skip
    memories = memories_of(board, graph, fast)
    network = c_network(graph, board.cpu, optimize, memories.room if memories else None, limits)
    source = c_source(name, network, layouts, second=board.second)
    _require_constants(board, network, source, limits)
    if memories is not None and board.second is not None:
        require_memories_hold(board, memories, network, _node)
    else:
        _require_ram(board, network, source)
    if board.cpu == "avr":
        _require_addresses(board, network, source)
    return network, source


def limits_of(board: Board, graph: Graph, flash: int | None = None, fast: int | None = None) -> Limits:
    """What kernels are chosen for: flash that is asked for or that the board has, RAM that states leave."""
    if flash is not None and flash < 1:
        raise BadConfiguration(
            where="export.flash",
            expected="bytes of flash that program and constants may take, a whole number from 1 on",
            got=str(flash),
            remedy="leave it out for what the board has, or set it to more",
        )
    one = board.ram is not None and board.second is None and fast is None
    ram = board.ram - state_bytes(graph) if one and board.ram is not None else None
    return Limits(board.flash if flash is None else flash, ram, flash is not None)


def _compiled(board: Board, name: str, source: CSource) -> Footprint | None:
    """What the board's compiler makes of the model; ``None`` where it is not installed."""
    machine = machine_of(board)
    if machine is None or shutil.which(machine.compiler) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        return weigh(machine, compile_model(machine, source.files, name, Path(folder), Options()).objects)


def _require_program_fits(
    board: Board, program: Footprint, network: CNetwork, source: CSource, limits: Limits, smallest: Callable[[], int]
) -> None:
    """What the compiler made of the model alone; start-up code, the rest of the firmware and the stack come on top."""
    if limits.flash is None or program.flash <= limits.flash:
        return
    constants = sum(source.constant_bytes.values())
    least = program.flash if network.optimize == "size" else smallest()
    over = least - limits.flash
    if over <= 0:
        remedy = f"set export.optimize to balanced, or to size, which takes {least:,} bytes"
    elif limits.asked:
        remedy = f"set it to {least:,} at least, which the smallest form takes; or {_narrower(over, 'leave some out')}"
    else:
        remedy = _narrower(over, _larger(least, source))
    raise BadConfiguration(
        where="export.flash" if limits.asked else f"export.target {board.name}",
        expected=f"at most {limits.flash:,} bytes of flash, program and constants{_of_board(board, limits)}",
        got=f"{program.flash:,} bytes as compiled, {constants:,} of them constants{_deciding(network, source, over)}",
        remedy=remedy,
    )


def _require_constants(board: Board, network: CNetwork, source: CSource, limits: Limits) -> None:
    """Constants against flash; code comes on top."""
    constants = sum(source.constant_bytes.values())
    if limits.flash is None or constants <= limits.flash:
        return
    over = constants - limits.flash
    if limits.asked:
        remedy = _narrower(over, f"set it to more, {constants:,} and what the code takes")
    else:
        remedy = _narrower(over, _larger(constants, source))
    if network.optimize == "speed":
        remedy = f"set export.optimize to balanced; or {remedy}"
    raise BadConfiguration(
        where="export.flash" if limits.asked else f"export.target {board.name}",
        expected=f"at most {limits.flash:,} bytes of flash, program and constants{_of_board(board, limits)}",
        got=f"{constants:,} bytes of constants{_deciding(network, source, over)}",
        remedy=remedy,
    )


#: Layers that a refusal names.
_NAMED = 4


def _deciding(network: CNetwork, source: CSource, over: int) -> str:
    """The nodes with most constants, in words: as few as have what is too much, and how many bytes all others have."""
    sizes = sorted(source.constant_bytes.items(), key=lambda item: -item[1])
    named, least = list[tuple[int, int]](), 0
    for index, size in sizes[:_NAMED]:
        named.append((index, size))
        least += size
        if least >= over:
            break
    parts = [f"{size:,} for {_node(network.graph, index)}" for index, size in named]
    others = sizes[len(named) :]
    if others:
        parts.append(f"{sum(size for _, size in others):,} for {len(others)} more")
    return "".join(f", {part}" for part in parts)


def _narrower(over: int, other: str) -> str:
    return f"make these layers narrower, by {over:,} bytes at least; or {other}"


def _larger(flash: int, source: CSource) -> str:
    """The smallest board that has room, if one has."""
    ram = source.scratch_bytes + source.state_bytes
    on_avr = sum(source.constant_bytes.values()) < MOST_AVR_CONSTANTS
    on_avr = on_avr and max(source.largest_table.values(), default=0) <= LARGEST_AVR_TABLE
    rooms = [
        (each.flash, each.name)
        for each in BOARDS.values()
        if each.flash is not None and each.flash > flash and (each.ram is None or each.ram >= ram)
        if on_avr or each.cpu != "avr"
    ]
    if not rooms:
        return f"choose a larger board than any that is known here, with {flash:,} bytes and more"
    size, name = min(rooms)
    return f"choose a larger board: of those known here {name} is the smallest with room, {size:,} bytes"


def _of_board(board: Board, limits: Limits) -> str:
    return "" if limits.asked else f" ({board.description})"


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
    rows = None if network.optimize == "ram" else c_network(graph, board.cpu, "ram", limits=Limits(ram=room))
    return rows_or(other, network, rows, room, lambda made: made.plan.peak, "of working memory")


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
