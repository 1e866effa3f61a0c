"""The arena that a file needs on a 32-bit processor with some kernel library.

It follows ``MicroInterpreter::AllocateTensors``: from one end grow structures that stay, at the other lie tensors, in
the plan of :mod:`export.arena.plan`; while that plan is made, its own tables lie there. Structures are those of the
releases since 2023, and :data:`MARGIN` bytes more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import prod

from export.arena.kernels import Call, Kernels, Needs, rounded
from export.arena.plan import Buffer, planned
from export.arena.reference import OTHER_STRUCTURES, parameters
from export.tflite.contents import read_contents
from export.tflite.file_data import FileContents, FileSubgraph, FileTensor

__all__ = ["ALIGNMENT", "MARGIN", "arena_needed"]

#: Of the arena and all that kernels ask for (``MicroArenaBufferAlignment``).
ALIGNMENT = 16
#: For structures of releases that nobody has measured.
MARGIN = 64
#: Allocator, planner and what holds them together: 36 + 44 + 36 + 8 bytes in 2026.
_FIXED = 144
#: Per subgraph, tensor, operator, scratch buffer, and each of the model's inputs and outputs.
_SUBGRAPH, _TENSOR, _NODE, _HANDLE, _END = 8, 12, 32, 4, 32 + 12
#: While kernels prepare: requests of scratch buffers with room for 12 more, and a tensor's structures.
_REQUEST, _REQUESTS_AHEAD, _PREPARED = 12, 12, 32 + 12
#: While the plan is made: per tensor and scratch buffer, and per buffer that is planned.
_LIFETIME, _PLANNED = 24, 40
_BYTES = {
    "float32": 4, "int32": 4, "int64": 8, "int16": 2, "int8": 1, "uint8": 1, "bool": 1, "float64": 8, "float16": 2,
    "uint16": 2, "uint32": 4, "int4": 1,
}  # fmt: skip


def _size(tensor: FileTensor) -> int:
    return prod(tensor.shape) * _BYTES.get(tensor.dtype, 8)


def _channels(tensor: FileTensor) -> int:
    """Bytes of its zero points."""
    return 4 + 4 * len(tensor.zero_point)


@cache
def _contents(model: bytes) -> FileContents:
    return read_contents(model)


def arena_needed(model: bytes, kernels: Kernels) -> int:
    """Bytes, a multiple of 16: at least what ``AllocateTensors`` needs where pointers have 32 bits.

    Args:
        model: a .tflite file.
        kernels: library and processor.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    contents = _contents(model)
    calls = [[Call.of(each, graph.tensors) for each in graph.operators] for graph in contents.subgraphs]
    needs = [[_needs(kernels, call) for call in graph] for graph in calls]
    persistent = _persistent(contents, calls, needs)
    scratch = sum(len(each.scratch) for graph in needs for each in graph)
    tensors = sum(len(graph.tensors) for graph in contents.subgraphs)
    buffers = _buffers(contents, needs)
    requests = _REQUEST * (scratch + _REQUESTS_AHEAD)
    preparing = max((_prepared(call) for graph in calls for call in graph), default=0)
    planning = 4 * len(contents.subgraphs) + _LIFETIME * (tensors + scratch) + _PLANNED * len(buffers) + 2 * ALIGNMENT
    head = max(planned(buffers) + _ends(contents), requests + preparing, requests + planning)
    return rounded(persistent + head + MARGIN + kernels.margin, ALIGNMENT)


def _needs(kernels: Kernels, call: Call) -> Needs:
    rule = kernels.rules.get(call.name)
    return Needs((OTHER_STRUCTURES,)) if rule is None else rule(call)


def _persistent(contents: FileContents, calls: list[list[Call]], needs: list[list[Needs]]) -> int:
    """All that stays, but for what is made of the model's inputs and outputs when the plan is there."""
    total = _FIXED + ALIGNMENT + _resources(contents)
    for graph, of_graph, asked in zip(contents.subgraphs, calls, needs, strict=True):
        total += _SUBGRAPH + _TENSOR * len(graph.tensors) + _NODE * len(graph.operators)
        total += sum(rounded(parameters(call), 4) for call in of_graph) + ALIGNMENT
        total += sum(rounded(size, ALIGNMENT) for each in asked for size in each.persistent)
        total += _HANDLE * sum(len(each.scratch) for each in asked)
        total += sum(rounded(_size(tensor), ALIGNMENT) for tensor in graph.tensors if tensor.variable)
    return total


#: What an application makes for resource variables, and for each of them.
_RESOURCES, _RESOURCE = 12, 20


def _resources(contents: FileContents) -> int:
    """Resource variables: their list, and the codes that each holds."""
    sizes: dict[str, int] = {}
    for graph in contents.subgraphs:
        handles = {
            operator.outputs[0]: f"{operator.options.get('Container', '')}/{operator.options.get('SharedName', '')}"
            for operator in graph.operators
            if operator.name == "VAR_HANDLE" and operator.outputs
        }
        for operator in graph.operators:
            if operator.name not in ("READ_VARIABLE", "ASSIGN_VARIABLE") or operator.inputs[0] not in handles:
                continue
            held = operator.outputs[0] if operator.name == "READ_VARIABLE" else operator.inputs[1]
            sizes[handles[operator.inputs[0]]] = rounded(_size(graph.tensors[held]), ALIGNMENT) + ALIGNMENT
    listed = 2 * ALIGNMENT + _RESOURCES + _RESOURCE * len(sizes)
    return rounded(listed + sum(sizes.values()), ALIGNMENT) if sizes else 0


def _ends(contents: FileContents) -> int:
    """What is made of the model's inputs and outputs: a structure each, and their list."""
    graph = contents.subgraphs[0]
    total = 0
    for side in (graph.inputs, graph.outputs):
        total += rounded(4 * len(side), ALIGNMENT) + ALIGNMENT
        total += sum(_END + _channels(graph.tensors[index]) for index in side)
    return total


def _prepared(call: Call) -> int:
    """Structures of all of an operator's tensors; those of convolutions are held by two functions at once."""
    tensors = [each for each in (*call.inputs, *call.outputs) if each is not None]
    return (2 if "CONV" in call.name else 1) * sum(_PREPARED + _channels(each) for each in tensors)


def _buffers(contents: FileContents, needs: list[list[Needs]]) -> list[Buffer]:
    """What is planned, in TFLite Micro's order: tensors by number, then scratch buffers by operator.

    Of several subgraphs, all are taken to live at the same time, one after another inside: an upper bound.
    """
    tensors: list[Buffer] = []
    scratch: list[Buffer] = []
    several = len(contents.subgraphs) > 1
    for graph, asked in zip(contents.subgraphs, needs, strict=True):
        end = len(graph.operators)
        tensors += (Buffer(each.size, 0, 0) if several else each for each in _of_tensors(graph, end))
        for step, each in enumerate(asked, 1):
            at = 0 if several else step
            scratch += (Buffer(rounded(size, ALIGNMENT), at, at) for size in each.scratch)
    return [*tensors, *scratch]


def _of_tensors(graph: FileSubgraph, end: int) -> Iterator[Buffer]:
    lives: dict[int, list[int]] = {index: [0, 0] for index in graph.inputs}
    for step, operator in enumerate(graph.operators, 1):
        for index in (*operator.outputs, *operator.inputs):
            if index >= 0:
                lives.setdefault(index, [step, step])[1] = step
    for index in graph.outputs:
        lives.setdefault(index, [end, end])[1] = end
    for tensor in graph.tensors:
        size = _size(tensor)
        if tensor.constant_bytes or tensor.variable or not size:
            continue
        first, last = lives.get(tensor.index, [-1, -1])
        yield Buffer(rounded(size, ALIGNMENT), first, last)
