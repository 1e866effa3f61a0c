"""When the tensors of a file are needed, as TFLite Micro counts it.

Source: ``MarkAllocationLifetimes`` in ``micro_allocation_info.cc``. Inputs are there from step 0 on, each operator is a
step, and outputs stay to the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from export.tflite.file_data import FileSubgraph, FileTensor

__all__ = ["Lifetime", "lifetimes", "shared_by_reshape", "tensor_bytes"]

_BYTES = {
    "float32": 4, "int32": 4, "int64": 8, "int16": 2, "int8": 1, "uint8": 1, "bool": 1, "float64": 8, "float16": 2,
    "uint16": 2, "uint32": 4, "int4": 1,
}  # fmt: skip


class Lifetime(NamedTuple):
    """A tensor of working memory, its bytes, and the first and the last step at which it is needed; -1 of one that no
    operator knows."""

    tensor: FileTensor
    size: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        """Whether both are needed at some step."""
        return self.first <= other.last and other.first <= self.last


def tensor_bytes(tensor: FileTensor) -> int:
    """Of its elements."""
    return prod(tensor.shape) * _BYTES.get(tensor.dtype, 8)


def lifetimes(graph: FileSubgraph) -> Iterator[Lifetime]:
    """Of all tensors that lie in working memory, by number: neither constants nor variables."""
    end = len(graph.operators)
    lives: dict[int, list[int]] = {index: [0, 0] for index in graph.inputs}
    for step, operator in enumerate(graph.operators, 1):
        for index in (*operator.outputs, *operator.inputs):
            if index >= 0:
                lives.setdefault(index, [step, step])[1] = step
    for index in graph.outputs:
        lives.setdefault(index, [end, end])[1] = end
    for tensor in graph.tensors:
        size = tensor_bytes(tensor)
        if tensor.constant_bytes or tensor.variable or not size:
            continue
        first, last = lives.get(tensor.index, [-1, -1])
        yield Lifetime(tensor, size, first, last)


def shared_by_reshape(graph: FileSubgraph) -> Iterator[tuple[int, int]]:
    """Input and output of each RESHAPE: of all kernels of TFLite Micro the only one that asks whether both lie at the
    same place, and then does nothing (``kernels/reshape.cc``, ``kernels/xtensa/reshape.cc``).

    Its output holds the very bytes of its input, and nobody writes into either once it is made; so they may share
    their memory for as long as one of them is needed.
    """
    for operator in graph.operators:
        if operator.name != "RESHAPE" or not operator.inputs or not operator.outputs:
            continue
        source, target = operator.inputs[0], operator.outputs[0]
        if min(source, target) < 0:
            continue
        ends = (graph.tensors[source], graph.tensors[target])
        in_memory = not any(each.constant_bytes or each.variable for each in ends)
        if in_memory and tensor_bytes(ends[0]) == tensor_bytes(ends[1]):
            yield source, target
