"""A plan for TFLite Micro's arena, where one takes less than its own: see :mod:`export.tflite.offline_plan`.

Tensors are placed by :mod:`export.arena.placement`, with scratch buffers of kernels among them. Those TFLite Micro
places itself, wherever they fit; so every plan is judged by what the arena then takes, of every build that a header has
a figure for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from export.arena.arena import Demand, demand
from export.arena.figures import Build, builds_of
from export.arena.placement import WORK, lower_bound, searched
from export.arena.plan import Buffer, planned
from export.tflite.contents import read_contents
from export.tflite.lifetimes import shared_by_reshape
from export.tflite.offline_plan import ONLINE, SINCE, OfflinePlan, encoded_plan
from qtorch.editions.edition import Edition

__all__ = ["offline_plan", "own_build"]

#: Which of a library's builds a processor has, by words of the build's condition.
_UNITS = {
    "cortex-m4": "DSP", "cortex-m7": "DSP", "cortex-m33": "DSP", "cortex-m55": "MVE", "cortex-m85": "MVE",
    "xtensa-s3": "ESP32S3", "riscv32-p4": "ESP32P4",
}  # fmt: skip
#: Sizes between the least and TFLite Micro's own that are aimed at.
_PARTS = 4


@dataclass(frozen=True)
class _Group:
    """Tensors that lie at the same place: by number, and for how long one of them is needed."""

    tensors: tuple[int, ...]
    buffer: Buffer


def own_build(builds: Sequence[Build], edition: Edition | None, cpu: str) -> Build:
    """The one that a board has.

    Args:
        builds: reference kernels, then each library's processors, of which the last has no condition.
        edition: of its TFLite Micro; ``None`` for reference kernels.
        cpu: of the board.
    """
    library = "" if edition is None or edition.library == "reference" else edition.library.upper()
    own = [each for each in builds if each.library == library]
    unit = _UNITS.get(cpu)
    return next((each for each in own if unit is not None and unit in each.condition), own[-1])


def offline_plan(
    model: bytes, edition: Edition | None = None, cpu: str = "host", work: int = WORK
) -> OfflinePlan | None:
    """The least that was found for a board's own build, if that is less than without a plan; no other build that the
    header has a figure for takes more than without.

    Args:
        model: a .tflite file without a plan.
        edition: of the TFLite Micro that it is for.
        cpu: of the board; decides, with the edition, which kernels are its own.
        work: of each search; see :func:`export.arena.placement.searched`.

    Returns:
        ``None`` where no plan can be: in an edition that is older than plans, or with several subgraphs, whose offsets
        older editions read otherwise.

    Raises:
        BadModelFile: as :func:`export.tflite.contents.read_contents`.
    """
    graphs = read_contents(model).subgraphs
    if len(graphs) > 1 or (edition is not None and edition.source < SINCE):
        return None
    builds = builds_of(edition)
    own = builds.index(own_build(builds, edition, cpu))
    demands = [[demand(model, kernels) for kernels in build.kernels] for build in builds]
    groups = _groups(demands[0][0], list(shared_by_reshape(graphs[0])))
    before, bound = _arenas(demands, None), max(_bound(each, groups) for each in demands[own])
    if before[own] <= bound:
        return OfflinePlan(b"", before[own], before[own], bound)
    best: tuple[int, int, tuple[int, ...]] | None = None
    for offsets in _candidates(groups, demands, own, len(graphs[0].tensors), work):
        arenas = _arenas(demands, offsets)
        if arenas[own] < before[own] and all(now <= then for now, then in zip(arenas, before, strict=True)):
            candidate = (arenas[own], sum(arenas), offsets)
            best = candidate if best is None else min(best, candidate)
        if best is not None and best[0] <= bound:
            break
    if best is None:
        return OfflinePlan(b"", before[own], before[own], bound)
    return OfflinePlan(encoded_plan(best[2]), before[own], best[0], bound)


def _arenas(demands: Iterable[Iterable[Demand]], offsets: Sequence[int] | None) -> list[int]:
    """Of each build."""
    return [max(each.arena(offsets) for each in of_build) for of_build in demands]


def _groups(asked: Demand, pairs: Sequence[tuple[int, int]]) -> tuple[_Group, ...]:
    """Tensors that share their memory, together; all others by themselves."""
    groups = {number: _Group((number,), each) for number, each in zip(asked.numbers, asked.tensors, strict=True)}
    for one, other in pairs:
        first, second = groups[one], groups[other]
        if first is second:
            continue
        lives = (first.buffer, second.buffer)
        whole = replace(lives[0], first=min(each.first for each in lives), last=max(each.last for each in lives))
        joined = _Group((*first.tensors, *second.tensors), whole)
        groups |= dict.fromkeys(joined.tensors, joined)
    return tuple(dict.fromkeys(groups.values()))


def _bound(asked: Demand, groups: Sequence[_Group]) -> int:
    """Bytes of an arena in the best of all plans, if there is one that good."""
    return asked.with_plan_of(lower_bound([*(each.buffer for each in groups), *asked.scratch]))


def _candidates(
    groups: Sequence[_Group], demands: Sequence[Sequence[Demand]], own: int, count: int, work: int
) -> Iterator[tuple[int, ...]]:
    """Offsets of all tensors of the file that may be better.

    First beside the scratch of the board's own kernels, which may lie in gaps; then below the scratch of all of them:
    with as much room as each build's arena leaves that shall not be larger than without a plan.
    """
    buffers = [each.buffer for each in groups]
    for scratch in dict.fromkeys((*(each.scratch for each in demands[own]), ())):
        yield _offsets(groups, searched([*buffers, *scratch], work=work), count)
    sizes = {each.scratch: planned(each.buffers()) for of_build in demands for each in of_build}
    mine = {each.scratch for each in demands[own]}
    least = max(lower_bound([*buffers, *scratch]) for scratch in mine)
    most = max(sizes[scratch] for scratch in mine)
    for part in range(_PARTS):
        target = least + (most - least) * part // _PARTS
        limits = [(scratch, target if scratch in mine else size) for scratch, size in sizes.items()]
        above = [_room(each, limits, target) for each in buffers]
        yield _offsets(groups, searched(buffers, above, target, work), count)


def _room(buffer: Buffer, limits: Sequence[tuple[Sequence[Buffer], int]], target: int) -> int:
    """Bytes that have to be free between a buffer and ``target``, so that each build's scratch fits above it within
    the size that it may take."""
    most = 0
    for scratch, size in limits:
        sums: dict[int, int] = {}
        for each in scratch:
            if buffer.meets(each):
                sums[each.first] = sums.get(each.first, 0) + each.size
        most = max(most, max(sums.values(), default=0) - (size - target))
    return most


def _offsets(groups: Sequence[_Group], found: Sequence[int], count: int) -> tuple[int, ...]:
    """Of all tensors of the file, with groups where they were found to lie."""
    offsets = [ONLINE] * count
    for group, at in zip(groups, found, strict=False):
        for number in group.tensors:
            offsets[number] = at
    return tuple(offsets)
