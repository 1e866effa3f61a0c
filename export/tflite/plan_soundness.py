"""What is wrong with the plan that a file has of TFLite Micro's arena, which TFLite Micro takes as it is.

See :mod:`export.tflite.offline_plan`. Wrong offsets are not refused there: tensors are written over each other, or over
what lies in front of the arena, and outputs are wrong without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np

from export.tflite.file_data import FileContents, FileSubgraph, FileTensor
from export.tflite.lifetimes import Lifetime, lifetimes, shared_by_reshape, tensor_bytes
from export.tflite.offline_plan import NAME, ONLINE, stored_offsets, stored_plan

__all__ = ["plan_faults"]

#: TFLite Micro counts bytes of its arena in int.
_MOST = 2**31 - 1


def plan_faults(contents: FileContents) -> Iterator[tuple[str, str]]:
    """What was expected of a file's plan, and what is there: the first fault of each kind, by tensors in words."""
    data = stored_plan(contents)
    if data is None:
        return
    offsets = stored_offsets(contents)
    count = sum(len(graph.tensors) for graph in contents.subgraphs)
    if offsets is None:
        said = f"{int(np.frombuffer(data[8:12], '<i4')[0])} of them" if len(data) >= 12 else "no count"
        yield f"offsets of {count} tensors, in {12 + 4 * count} bytes of {NAME!r}", f"{len(data)} bytes with {said}"
        return
    before = 0
    for graph in contents.subgraphs:
        at = {tensor.index: offsets[before + tensor.index] for tensor in graph.tensors}
        before += len(graph.tensors)
        lives = [*lifetimes(graph), *_planned_variables(graph, at)]
        yield from _range(lives, at)
        yield from _overlaps(graph, lives, at)


def _planned_variables(graph: FileSubgraph, at: Mapping[int, int]) -> Iterator[Lifetime]:
    """Variables with an offset lie in the arena like other tensors, and are needed all the time."""
    for tensor in graph.tensors:
        if tensor.variable and not tensor.constant_bytes and at[tensor.index] != ONLINE:
            yield Lifetime(tensor, tensor_bytes(tensor), 0, len(graph.operators))


def _range(lives: list[Lifetime], at: Mapping[int, int]) -> Iterator[tuple[str, str]]:
    for each in lives:
        offset = at[each.tensor.index]
        if offset != ONLINE and not 0 <= offset <= _MOST - each.size:
            place = f"offset {offset:,} for its {each.size:,} bytes"
            yield f"offsets from 0 to 2**31, or {ONLINE} for none", f"{_named(each.tensor)}, {place}"
            return
    for each in lives:
        offset, width = at[each.tensor.index], each.size // max(1, _elements(each.tensor))
        if offset != ONLINE and width and offset % width:
            yield f"offsets at which numbers of {width} bytes can lie", f"{_named(each.tensor)}, offset {offset:,}"
            return


def _overlaps(graph: FileSubgraph, lives: list[Lifetime], at: Mapping[int, int]) -> Iterator[tuple[str, str]]:
    """RESHAPE alone looks whether its output lies on its input; all else is written over what is still read.

    A custom operator may have a tensor that is all of its working memory, with others inside (Vela's Ethos-U does).
    """
    alike = _alike(graph)
    custom = {i for each in graph.operators if each.name.startswith("CUSTOM:") for i in (*each.inputs, *each.outputs)}
    placed = [each for each in lives if at[each.tensor.index] != ONLINE and each.tensor.index not in custom]
    for one, other in combinations(placed, 2):
        first, second = at[one.tensor.index], at[other.tensor.index]
        apart = first + one.size <= second or second + other.size <= first
        if apart or not one.meets(other):
            continue
        if first == second and alike.get(one.tensor.index, -1) == alike.get(other.tensor.index, -2):
            continue
        yield (
            "tensors apart that are needed at the same time",
            f"{_named(one.tensor)} at {first:,} to {first + one.size:,}, {_named(other.tensor)} at {second:,} to "
            f"{second + other.size:,}",
        )
        return


def _alike(graph: FileSubgraph) -> dict[int, int]:
    """Tensors that hold the same bytes, by one of them."""
    found: dict[int, int] = {}
    for source, target in shared_by_reshape(graph):
        found[target] = found.setdefault(source, source)
    return found


def _elements(tensor: FileTensor) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))


def _named(tensor: FileTensor) -> str:
    return f"tensor {tensor.index} {tensor.name!r:.80}"
