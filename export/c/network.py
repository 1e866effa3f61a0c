"""A graph as calls of C kernels: every node resolved, every tensor in its place, nothing of the target's text yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from export.c.balance import Choice, Slot, chosen_kernels, slots_of
from export.c.by_rows.blocks import rows_at_a_time
from export.c.by_rows.choice import chosen_parts
from export.c.by_rows.section import RowNode
from export.c.division import Room, accesses, divided, share_of_fast
from export.c.kernel_calls import kernel_calls, shapes_of
from export.c.memory_plan import MemoryPlan
from export.c.optimize import NO_LIMITS, Limits, Optimize
from export.c.placement import ByRows, Placement, is_copy, placed, placed_by, scratch_of, sums_of
from export.c.places import Place, in_order, in_place
from export.c.targets import least
from export.graph.ir import Graph, Node
from qtorch.errors import UnsupportedLayer
from qtorch.row.kernel_call import KernelCall, NoKernel

__all__ = [
    "CNetwork",
    "Place",
    "RowLoop",
    "Step",
    "c_network",
    "network_of",
    "portable_calls",
    "rows_that_do_not_help",
    "run_of",
]


@dataclass(frozen=True)
class Step:
    """One kernel call.

    Attributes:
        node: what it computes.
        index: of the node in the graph.
        call: the kernel and its arguments.
        part: which of the node's calls it is.
        places: of the node's run-time tensors, by role.
        scratch: byte offset of the kernel's own working memory, if it has any.
        at_run_time: numbers among the arguments that the call is given by name.
    """

    node: Node
    index: int
    call: KernelCall
    places: Mapping[str, Place]
    scratch: int | None = None
    part: int = 0
    at_run_time: tuple[str, ...] = ()


@dataclass(frozen=True)
class RowLoop:
    """Nodes that are computed row by row.

    Attributes:
        part: which, and in which order.
        each: the calls of a step, by the node's position among them.
        at_last: those behind the last step of a node that adds up.
        outside: those of steps that read no row, by the position.
        rest: those of a last step that has fewer rows than the others, by the position.
        sums: byte offset and bytes of what such a node adds up, by its position.
        places: of the tensors, by name.
        line_rows: of tensors of which a few rows are kept: how many, by name.
    """

    part: ByRows
    each: tuple[tuple[Step, ...], ...]
    at_last: Mapping[int, tuple[Step, ...]]
    outside: Mapping[int, tuple[Step, ...]]
    rest: Mapping[int, tuple[Step, ...]]
    sums: Mapping[int, tuple[int, int]]
    places: Mapping[str, Place]
    line_rows: Mapping[str, int]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every call that there is."""
        others = (self.at_last, self.outside, self.rest)
        return tuple(s for of in (*self.each, *chain(*(each.values() for each in others))) for s in of)


@dataclass(frozen=True)
class CNetwork:
    """What a C source is written from.

    Attributes:
        graph: of integers.
        run: calls and loops over rows, in order.
        copies: outputs that no step writes where they belong: output index to where its codes lie.
        state_copies: states likewise, by the state's index, in an order in which none is overwritten before it is read;
            they come behind the outputs' copies.
        ends: byte offsets of the inputs and the outputs in working memory, by their side and number.
        placement: where everything lies.
        whole: bytes of working memory of the same network computed operator by operator.
        by_rows: bytes that it takes by rows, or would take at least where that is no less; ``None``: nobody tried, or
            no operator that decides has rows.
        cpu: the processor that it is made for.
        optimize: what it is made for.
        choice: of kernels, where there was one.
    """

    graph: Graph
    run: tuple[Step | RowLoop, ...]
    copies: Mapping[int, Place]
    state_copies: Mapping[int, Place]
    ends: Mapping[tuple[str, int], int]
    placement: Placement
    whole: int
    cpu: str
    optimize: Optimize = "size"
    choice: Choice | None = None
    by_rows: int | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every call."""
        return tuple(s for item in self.run for s in (item.steps if isinstance(item, RowLoop) else (item,)))

    @property
    def plan(self) -> MemoryPlan:
        """Of the working memory."""
        return self.placement.plan

    @property
    def bound(self) -> int:
        """Bytes that no plan can do without."""
        return self.placement.bound

    def needed(self, among: Collection[str] | None = None) -> dict[int, int]:
        """By node index, the bytes of working memory that are in use then; of all buffers, or those that are named."""
        return {index: self.placement.lifetimes.needed(index, among) for index in range(len(self.graph.nodes))}

    def in_fast(self) -> float:
        """Of two memories, the share of all accesses that the fast one has."""
        return share_of_fast(self.plan, accesses(self.graph, self.placement.lifetimes))

    def survives(self, index: int) -> bool:
        """Whether an input is there still when all is computed."""
        lives = self.placement.lifetimes
        names, buffers = lives.names, {b.name: b for b in lives.buffers}
        own = names[self.graph.inputs[index]]
        if any(names.get(name) == own for node in self.graph.nodes for name in node.outputs):
            return False
        offsets, first = self.plan.offsets, self.plan.offsets[own]
        behind = first + buffers[own].size
        others = (b for b in buffers.values() if b.name != own)
        return all(offsets[b.name] >= behind or offsets[b.name] + b.size <= first for b in others)


def c_network(
    graph: Graph,
    cpu: str = "host",
    optimize: Optimize = "balanced",
    room: Room | None = None,
    limits: Limits = NO_LIMITS,
) -> CNetwork:
    """Kernels and memory for a graph.

    Args:
        graph: of integers.
        cpu: a processor of :data:`export.boards.BOARDS`; ``"host"`` stands for any.
        optimize: what the C is made for; ``ram`` computes row by row where that takes less working memory.
        room: of two memories that the working memory may lie in; without it there is one.
        limits: of flash and working memory, which kernels are chosen by.

    Raises:
        UnsupportedLayer: ops without a kernel, all of them named.
    """
    portable = portable_calls(graph)
    slots = slots_of(portable, cpu)
    smallest = {(slot.index, slot.part): slot.options[0].call for slot in slots}
    calls = tuple(
        tuple(smallest.get((index, part)) or least(call, cpu).call for part, call in enumerate(node))
        for index, node in enumerate(portable)
    )
    parts, nearest = tuple[ByRows, ...](), None
    found = whole = placed(graph, calls)
    if optimize == "ram":
        most = limits.ram if room is None or room.slow is None else room.fast + room.slow
        parts, found, nearest = chosen_parts(
            graph, calls, whole, lambda call: least(call, cpu).call, rows_at_a_time(cpu), most
        )
        inside = {node.index for part in parts for node in part.section.nodes}
        slots = tuple(slot for slot in slots if slot.index not in inside)
    choice, found = _choice(graph, calls, slots, parts, found, optimize, limits)
    network = network_of(graph, choice.calls, cpu, room, found, parts)
    return replace(network, whole=whole.plan.peak, optimize=optimize, choice=choice, by_rows=nearest)


def rows_that_do_not_help(by_rows: int | None) -> str:
    """By how little, in words, from :attr:`CNetwork.by_rows`."""
    return "it has no rows" if by_rows is None else f"by rows at least {by_rows:,} bytes would be needed"


def _choice(
    graph: Graph, calls: Sequence[tuple[KernelCall, ...]], slots: Sequence[Slot], parts: Sequence[ByRows],
    found: Placement, optimize: Optimize, limits: Limits,
) -> tuple[Choice, Placement]:  # fmt: skip
    """Kernels that working memory has room for, and where everything lies with them."""
    most = found.plan.peak if optimize == "ram" else limits.ram
    own = {slot.index: max(call.scratch for call in calls[slot.index]) for slot in slots}
    needed = {} if most is None else {index: found.lifetimes.needed(index) for index in own}

    def fits(index: int, scratch: int) -> bool:
        return most is None or scratch <= own[index] or needed[index] - own[index] + scratch <= most

    tried = list(slots)
    while True:
        choice = chosen_kernels(calls, tried, optimize, limits, fits)
        kept = all(made is call for made, call in zip(chain(*choice.calls), chain(*calls), strict=True))
        placement = found if kept else placed(graph, choice.calls, parts)
        larger = [layer for layer in choice.layers if layer.scratch > own[layer.index]]
        if most is None or placement.plan.peak <= max(most, found.plan.peak) or not larger:
            return choice, placement
        # There is room at each node, but tensors do not lie without gaps: the largest gives way.
        index = max(larger, key=lambda layer: layer.scratch).index
        tried = [slot for slot in tried if slot.index != index]


def network_of(
    graph: Graph,
    calls: Sequence[tuple[KernelCall, ...]],
    cpu: str,
    room: Room | None = None,
    found: Placement | None = None,
    parts: Sequence[ByRows] = (),
) -> CNetwork:
    """A network of given calls.

    Args:
        graph: of integers.
        calls: of its nodes.
        cpu: that they are for.
        room: see :func:`c_network`.
        found: where everything lies; a plan is made without it.
        parts: that are computed row by row, as the placement has them.
    """
    found = placed(graph, calls) if found is None else found
    whole = found
    if room is not None:
        lives = found.lifetimes
        found = placed_by(lives, divided(lives.buffers, accesses(graph, lives), room))
    run = run_of(graph, calls, found, parts)
    copies = {
        i: found.places.get(name, Place("constant", i))
        for i, name in enumerate(graph.outputs)
        if name not in found.lifetimes.names
    }
    after = {k: Place("constant", k) if graph.values[s.after].data is not None else found.places[s.after]
             for k, s in enumerate(graph.states)}  # fmt: skip
    state_copies = in_order({k: there for k, there in after.items() if there != Place("state", k)})
    offsets, names = found.plan.offsets, found.lifetimes.names
    ends = {("in", i): offsets[names[name]] for i, name in enumerate(graph.inputs)}
    ends |= {("out", i): offsets[names.get(name, f"output {i}")] for i, name in enumerate(graph.outputs)}
    return CNetwork(graph, run, copies, state_copies, ends, found, whole.plan.peak, cpu)


def run_of(
    graph: Graph, calls: Sequence[tuple[KernelCall, ...]], found: Placement, parts: Sequence[ByRows]
) -> tuple[Step | RowLoop, ...]:
    """What a network does, in order.

    Args:
        graph: of integers.
        calls: of its nodes.
        found: where everything lies.
        parts: that are computed row by row.
    """
    inside = {node.index: part for part in parts for node in part.section.nodes}
    run: list[Step | RowLoop] = []
    for index, (node, node_calls) in enumerate(zip(graph.nodes, calls, strict=True)):
        if index in inside:
            if inside[index].section.first == index:
                run.append(_row_loop(graph, inside[index], found))
            continue
        there = _places(graph, node, found)
        sources = {there[role] for role in in_place(node_calls) if role in there}
        if is_copy(node_calls) and sources == {there[role] for role in node.output_roles()}:
            continue
        for part, call in enumerate(node_calls):
            scratch = found.plan.offsets[scratch_of(index)] if call.scratch else None
            run.append(Step(node, index, call, there, scratch, part))
    return tuple(run)


def _places(graph: Graph, node: Node, found: Placement) -> dict[str, Place]:
    roles = node.input_roles() | node.output_roles()
    return {role: found.places[name] for role, name in roles.items() if graph.values[name].data is None}


def _row_loop(graph: Graph, part: ByRows, found: Placement) -> RowLoop:
    section, each, at_last, outside, rest, sums = part.section, [], {}, {}, {}, {}
    for place, node in enumerate(section.nodes):
        calls, offsets = part.calls[node.index], found.plan.offsets
        if calls.sums_bytes:
            sums[place] = (offsets[sums_of(node.index)], calls.sums_bytes)
            scratch = sums[place][0]
            at_last[place] = _row_steps(graph, node, calls.at_last, found, scratch, (), len(calls.each))
        else:
            scratch = offsets.get(scratch_of(node.index), 0)
        if calls.outside:
            outside[place] = _row_steps(graph, node, calls.outside, found, 0, (), len(calls.each))
        if calls.rest:
            rest[place] = _row_steps(graph, node, calls.rest, found, scratch, (), len(calls.each))
        each.append(_row_steps(graph, node, calls.each, found, scratch, tuple(calls.numbers), 0))
    lines = [name for name in section.makers if name not in section.kept]
    return RowLoop(
        part,
        tuple(each),
        at_last,
        outside,
        rest,
        sums,
        {name: found.places[name] for name in section.rows},
        {name: part.schedule.most_rows(name) for name in lines},
    )


def _row_steps(
    graph: Graph, node: RowNode, calls: Sequence[KernelCall], found: Placement, scratch: int,
    numbers: tuple[str, ...], first: int,
) -> tuple[Step, ...]:  # fmt: skip
    of = graph.nodes[node.index]
    there = _places(graph, of, found)
    return tuple(
        Step(of, node.index, call, there, scratch if call.scratch else None, first + part, numbers)
        for part, call in enumerate(calls)
    )


def portable_calls(graph: Graph) -> list[tuple[KernelCall, ...]]:
    """What the rows' C cells say of every node.

    Raises:
        UnsupportedLayer: ops without a kernel, all of them named.
    """
    calls, missing = [], []
    for index, node in enumerate(graph.nodes):
        try:
            calls.append(calls_of(graph, node))
        except NoKernel as reason:
            missing.append(f"{node.op} (node {index}: {reason})")
    if missing:
        raise UnsupportedLayer(
            where="export.c",
            expected="ops that a kernel in C computes",
            got="; ".join(missing),
            remedy="leave --export.c out and use TFLite Micro, or replace these layers",
        )
    return calls


def calls_of(graph: Graph, node: Node) -> tuple[KernelCall, ...]:
    """A node's calls on whole images, each image by itself, before a processor adapts them.

    Raises:
        NoKernel: none computes it.
    """
    shapes = shapes_of(graph, node)
    images = shapes["output"][0] if node.row.channels_last else 1
    if images > 1:
        constants = {role for role, name in node.input_roles().items() if graph.values[name].data is not None}
        shapes = {role: shape if role in constants else (1, *shape[1:]) for role, shape in shapes.items()}
    calls = kernel_calls(graph, node, node.attrs, shapes)
    # What an image leaves behind where it lay, the next one may still need.
    return calls if images == 1 else tuple(replace(call, images=images, in_place=frozenset()) for call in calls)
