"""A graph as calls of C kernels: every node resolved, every tensor in its place, nothing of the target's text yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from export.c.memory_plan import Buffer, MemoryPlan, lower_bound, plan
from export.c.places import Place, homes, in_order, in_place
from export.c.targets import adapted
from export.graph.ir import Graph, Node
from qtorch.errors import UnsupportedLayer
from qtorch.row.kernel_call import KernelCall, NoKernel, Operands
from qtorch.row.row import Unsupported

__all__ = ["CNetwork", "Place", "Step", "c_network"]


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
    """

    node: Node
    index: int
    call: KernelCall
    places: Mapping[str, Place]
    scratch: int | None = None
    part: int = 0


@dataclass(frozen=True)
class CNetwork:
    """What a C source is written from.

    Attributes:
        graph: of integers.
        steps: in order.
        copies: outputs that no step writes where they belong: output index to where its codes lie.
        state_copies: states likewise, by the state's index, in an order in which none is overwritten before it is read;
            they come behind the outputs' copies.
        plan: of the working memory.
        bound: bytes that no plan can do without: the tensors alone, without the kernels' own working memory.
        needed: by node index, the bytes of working memory that are in use then.
    """

    graph: Graph
    steps: tuple[Step, ...]
    copies: Mapping[int, Place]
    state_copies: Mapping[int, Place]
    plan: MemoryPlan
    bound: int
    needed: Mapping[int, int]


def c_network(graph: Graph, cpu: str = "host", speed: bool = False) -> CNetwork:
    """Kernels and memory for a graph.

    Args:
        graph: of integers.
        cpu: a processor of :data:`export.boards.BOARDS`; ``"host"`` stands for any.
        speed: take more flash where that saves time.

    Raises:
        UnsupportedLayer: ops without a kernel, all of them named.
    """
    calls = [tuple(adapted(call, cpu, speed) for call in node_calls) for node_calls in _calls(graph)]
    places, buffers, names = _memory(graph, calls)
    placed = plan(buffers)

    def place(name: str) -> Place:
        fixed = places.get(name)
        return fixed if fixed is not None else Place("scratch", placed.offsets[names[name]])

    steps = []
    for index, (node, node_calls) in enumerate(zip(graph.nodes, calls, strict=True)):
        roles = node.input_roles() | node.output_roles()
        there = {role: place(name) for role, name in roles.items() if graph.values[name].data is None}
        sources = {there[role] for role in in_place(node_calls) if role in there}
        if _is_copy(node_calls) and sources == {there[role] for role in node.output_roles()}:
            continue
        for part, call in enumerate(node_calls):
            scratch = placed.offsets[f"scratch of {index}"] if call.scratch else None
            steps.append(Step(node, index, call, there, scratch, part))
    copies = {
        i: place(name) if graph.values[name].data is None else Place("constant", i)
        for i, name in enumerate(graph.outputs)
        if graph.values[name].data is not None or place(name) != Place("out", i)
    }
    needed = {index: sum(b.size for b in buffers if b.first <= index <= b.last) for index in range(len(graph.nodes))}
    tensors = [buffer for buffer in buffers if buffer.name in names]
    after = {k: Place("constant", k) if graph.values[s.after].data is not None else place(s.after)
             for k, s in enumerate(graph.states)}  # fmt: skip
    state_copies = in_order({k: there for k, there in after.items() if there != Place("state", k)})
    return CNetwork(graph, tuple(steps), copies, state_copies, placed, lower_bound(tensors), needed)


def _is_copy(calls: tuple[KernelCall, ...]) -> bool:
    """Whether nothing is to be done where input and output share memory."""
    return [call.kernel for call in calls] == ["copy"]


def _calls(graph: Graph) -> list[tuple[KernelCall, ...]]:
    calls, missing = [], []
    for index, node in enumerate(graph.nodes):
        try:
            calls.append(_call(graph, node))
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


def _call(graph: Graph, node: Node) -> tuple[KernelCall, ...]:
    cell, roles = node.row.c, node.input_roles() | node.output_roles()
    if isinstance(cell, Unsupported):
        raise NoKernel(cell.reason)
    if graph.is_float(node):
        raise NoKernel("computes in float32")
    values = {role: graph.values[name] for role, name in roles.items()}
    constants = {role: value.data for role, value in values.items() if value.data is not None}
    shapes = {role: value.shape for role, value in values.items()}
    images = shapes["output"][0] if node.row.channels_last else 1
    if images > 1:
        shapes = {role: shape if role in constants else (1, *shape[1:]) for role, shape in shapes.items()}
    kernels = cell(Operands(node.attrs, shapes, {role: value.qparams for role, value in values.items()}, constants))
    calls = kernels if isinstance(kernels, tuple) else (kernels,)
    # What an image leaves behind where it lay, the next one may still need.
    return calls if images == 1 else tuple(replace(call, images=images, in_place=frozenset()) for call in calls)


def _memory(graph: Graph, calls: list[tuple[KernelCall, ...]]) -> tuple[dict[str, Place], list[Buffer], dict[str, str]]:
    """Fixed places by tensor, buffers to be planned, and the buffer of every tensor that lies in one.

    Tensors that share memory are one buffer, named after the first. A tensor joins its op's input where the kernel
    allows it and nothing reads that memory later; a mere copy joins in any case.
    """
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    places = {name: Place("in", i) for i, name in enumerate(graph.inputs)}
    places |= {state.value: Place("state", k) for k, state in enumerate(graph.states)}
    places = {name: Place("out", i) for i, name in reversed(list(enumerate(graph.outputs)))} | places
    settled = set(graph.inputs) | homes(graph, calls, last, places)
    last |= {state.after: len(graph.nodes) for state in graph.states}
    buffers: dict[str, Buffer] = {}
    names: dict[str, str] = {}
    for index, (node, kernels) in enumerate(zip(graph.nodes, calls, strict=True)):
        for name in node.outputs:
            size, until = graph.values[name].bytes, last.get(name, index)
            if name in places:
                continue
            taken = next(
                (source for role, source in node.input_roles().items()
                 if role in in_place(kernels) and _may_join(source, size, index, kernels, settled, buffers, names)),
                None,
            )  # fmt: skip
            if taken in places:
                places[name] = places[taken]
                settled.add(name)
                continue
            names[name] = name if taken is None else names[taken]
            buffer = buffers.get(names[name], Buffer(name, size, index, index))
            buffers[names[name]] = replace(buffer, last=max(buffer.last, until, index))
        scratch = max(call.scratch for call in kernels)
        if scratch:
            buffers[f"scratch of {index}"] = Buffer(f"scratch of {index}", scratch, index, index)
    return places, list(buffers.values()), names


def _may_join(
    source: str, size: int, index: int, calls: tuple[KernelCall, ...],
    settled: set[str], buffers: Mapping[str, Buffer], names: Mapping[str, str],
) -> bool:  # fmt: skip
    """Whether a result of ``size`` bytes may lie where ``source`` lies; what is ``settled`` stays as it is."""
    if _is_copy(calls) and source in settled:
        return True
    if source not in names:
        return False
    buffer = buffers[names[source]]
    return size <= buffer.size and (_is_copy(calls) or buffer.last <= index)
