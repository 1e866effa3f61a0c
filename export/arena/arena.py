"""The arena that a file needs on a 32-bit processor with some kernel library.

It follows ``MicroInterpreter::AllocateTensors``: from one end grow structures that stay, at the other lie tensors, in
the plan of :mod:`export.arena.plan`; while that plan is made, its own tables lie there. Structures are those of the
releases since 2023, and :data:`MARGIN` bytes more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from export.arena.kernels import Call, Kernels, Needs, rounded
from export.arena.plan import Buffer, planned
from export.arena.reference import OTHER_STRUCTURES, parameters
from export.tflite.contents import read_contents
from export.tflite.file_data import FileContents, FileTensor
from export.tflite.lifetimes import lifetimes, tensor_bytes
from export.tflite.offline_plan import ONLINE, stored_offsets

__all__ = ["ALIGNMENT", "MARGIN", "Demand", "arena_needed", "demand", "file_contents"]

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
#: Inputs of which two functions hold structures at once: all in front of the bias.
_TWICE = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "TRANSPOSE_CONV": 3}
#: While the plan is made: per tensor and scratch buffer, and per buffer that is planned.
_LIFETIME, _PLANNED = 24, 40


def _channels(tensor: FileTensor) -> int:
    """Bytes of its zero points."""
    return 4 + 4 * len(tensor.zero_point)


@cache
def file_contents(model: bytes) -> FileContents:
    """What stands in a file, read once."""
    return read_contents(model)


@dataclass(frozen=True)
class Demand:
    """What ``AllocateTensors`` takes of a file with some kernels, but for where tensors lie.

    Attributes:
        tensors: in working memory, in the order in which they are handed to the planner.
        numbers: of each among all tensors of the file.
        scratch: buffers of kernels, which the planner is handed behind those.
        stays: bytes at one end of the arena, margins among them.
        ends: bytes beside the plan at the other end: of the model's inputs and outputs.
        least: bytes at that end while the plan is made.
    """

    tensors: tuple[Buffer, ...]
    numbers: tuple[int, ...]
    scratch: tuple[Buffer, ...]
    stays: int
    ends: int
    least: int

    def buffers(self, offsets: Sequence[int] | None = None) -> tuple[Buffer, ...]:
        """All that is planned, where it shall lie.

        Args:
            offsets: of all tensors of the file; see :mod:`export.tflite.offline_plan`.
        """
        if offsets is None:
            return (*self.tensors, *self.scratch)
        said = (offsets[number] for number in self.numbers)
        tensors = (
            replace(each, offset=None if at == ONLINE else at) for each, at in zip(self.tensors, said, strict=True)
        )
        return (*tensors, *self.scratch)

    def arena(self, offsets: Sequence[int] | None = None) -> int:
        """Bytes of the arena, a multiple of 16; see :meth:`buffers`."""
        return self.with_plan_of(planned(self.buffers(offsets)))

    def with_plan_of(self, size: int) -> int:
        """Bytes of the arena, if the plan takes ``size`` of them."""
        return rounded(self.stays + max(size + self.ends, self.least), ALIGNMENT)


def arena_needed(model: bytes, kernels: Kernels) -> int:
    """Bytes, a multiple of 16: at least what ``AllocateTensors`` needs where pointers have 32 bits.

    A plan that the file has is followed.

    Args:
        model: a .tflite file.
        kernels: library and processor.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    return demand(model, kernels).arena(stored_offsets(file_contents(model)))


def demand(model: bytes, kernels: Kernels) -> Demand:
    """What a file asks for; see :func:`arena_needed`."""
    contents = file_contents(model)
    calls = [[Call.of(each, graph.tensors) for each in graph.operators] for graph in contents.subgraphs]
    needs = [[_needs(kernels, call) for call in graph] for graph in calls]
    persistent = _persistent(contents, calls, needs)
    scratch = sum(len(each.scratch) for graph in needs for each in graph)
    tensors = sum(len(graph.tensors) for graph in contents.subgraphs)
    numbers, lying = _tensors(contents)
    asked = _scratch(needs)
    requests = _REQUEST * (scratch + _REQUESTS_AHEAD)
    preparing = max((_prepared(call) for graph in calls for call in graph), default=0)
    planning = (
        4 * len(contents.subgraphs)
        + _LIFETIME * (tensors + scratch)
        + _PLANNED * (len(lying) + len(asked))
        + 2 * ALIGNMENT
    )
    least = max(requests + preparing, requests + planning)
    stays = persistent + MARGIN + kernels.margin
    return Demand(tuple(lying), tuple(numbers), tuple(asked), stays, _ends(contents), least)


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
        total += sum(rounded(tensor_bytes(tensor), ALIGNMENT) for tensor in graph.tensors if tensor.variable)
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
            sizes[handles[operator.inputs[0]]] = rounded(tensor_bytes(graph.tensors[held]), ALIGNMENT) + ALIGNMENT
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
    """Structures of all of an operator's tensors; those of convolutions are held by two functions, but for the bias."""
    inputs = [each for each in call.inputs if each is not None]
    twice = inputs[: _TWICE[call.name]] + list(call.outputs) if call.name in _TWICE else []
    return sum(_PREPARED + _channels(each) for each in (*inputs, *call.outputs, *twice))


def _tensors(contents: FileContents) -> tuple[list[int], list[Buffer]]:
    """Tensors that are planned, by number, in TFLite Micro's order.

    Of several subgraphs, all are taken to live at the same time, one after another inside: an upper bound.
    """
    numbers, buffers, before = list[int](), list[Buffer](), 0
    several = len(contents.subgraphs) > 1
    for graph in contents.subgraphs:
        for each in lifetimes(graph):
            size = rounded(each.size, ALIGNMENT)
            numbers.append(before + each.tensor.index)
            buffers.append(Buffer(size, 0, 0) if several else Buffer(size, each.first, each.last))
        before += len(graph.tensors)
    return numbers, buffers


def _scratch(needs: list[list[Needs]]) -> list[Buffer]:
    """Scratch buffers, by operator; of several subgraphs as tensors are."""
    return [
        Buffer(rounded(size, ALIGNMENT), at, at)
        for graph in needs
        for step, each in enumerate(graph, 1)
        for at in (0 if len(needs) > 1 else step,)
        for size in each.scratch
    ]
