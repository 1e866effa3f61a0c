"""Where tensors shall lie in TFLite Micro's arena, as a file may say it: its metadata under the name :data:`NAME`.

The buffer holds numbers of 32 bits: the format's version (1), a number of subgraphs, how many offsets follow, and
these: for each tensor of all subgraphs, one after another, where it begins in the arena; :data:`ONLINE` for one that
TFLite Micro places itself, which constants have too. TFLite Micro takes the offsets as they are, without a look at
whether tensors overlap, and places everything else around them: kernels' scratch buffers always. It reads neither of
the first two numbers. Source: ``micro_allocation_info.cc``, and ``docs/memory_management.md`` of TFLite Micro.

It does so in every source since 2022-10-18 (:data:`SINCE`), with its usual planner. The one that keeps all tensors, for
whoever looks into them, refuses a file with a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, TypeAlias

import numpy as np

from export.engines.unplanned import PLAN
from export.tflite.file_data import FileContents

__all__ = ["NAME", "ONLINE", "SINCE", "OfflinePlan", "Planner", "encoded_plan", "stored_offsets", "stored_plan"]

NAME = PLAN
#: Instead of an offset.
ONLINE = -1
#: Of TFLite Micro's source: before that day it compared names of metadata otherwise.
SINCE = date(2022, 10, 18)
_VERSION = 1
#: Numbers before the offsets.
_AHEAD = 3


@dataclass(frozen=True)
class OfflinePlan:
    """What a plan in the file does, in bytes of the arena of the board's own kernels.

    Attributes:
        data: of the file's metadata; empty where the file has no plan.
        before: of the arena with TFLite Micro's own plan.
        after: with the one that the file has.
        bound: what no plan of whole tensors can do without.
        costs: bytes of the file that a plan takes, or would take where one was found that is not worth them.
    """

    data: bytes
    before: int
    after: int
    bound: int
    costs: int = 0

    @property
    def words(self) -> str:
        """One sentence without its full stop."""
        if self.data:
            return (
                f"the file says where tensors lie: {self.after:,} bytes of arena instead of {self.before:,}, for "
                f"{self.costs:,} bytes of the file"
            )
        if self.before <= self.bound:
            return "TFLite Micro's own plan of its arena is the least there is"
        found = f"one that saves less than the {self.costs:,} bytes that it takes" if self.costs else "none"
        return f"no plan in the file: a better one than TFLite Micro's was searched, and {found} was found"

    def as_json(self) -> dict[str, Any]:
        """As ``metrics.json`` has it."""
        figures = {"arena_bytes_before": self.before, "arena_bytes": self.after, "arena_bytes_bound": self.bound}
        return {"in_file": bool(self.data), "file_bytes": self.costs, **figures, "words": self.words}

    def if_worth(self, costs: int) -> OfflinePlan:
        """Itself, if it saves more than it costs in the file; else none, and the price."""
        if self.before - self.after > costs:
            return replace(self, costs=costs)
        return replace(self, data=b"", after=self.before, costs=costs)


#: A plan for a file that has none; ``None`` where no plan can be.
Planner: TypeAlias = Callable[[bytes], OfflinePlan | None]


def encoded_plan(offsets: Sequence[int], subgraphs: int = 1) -> bytes:
    """The buffer's contents.

    Args:
        offsets: in bytes, of each tensor of all subgraphs, or :data:`ONLINE`.
        subgraphs: how many.
    """
    return np.array([_VERSION, subgraphs, len(offsets), *offsets], "<i4").tobytes()


def stored_plan(contents: FileContents) -> bytes | None:
    """The buffer's contents as a file has them: of several the last, as TFLite Micro takes it; ``None`` without one."""
    found = [each.data for each in contents.metadata if each.name == NAME]
    return found[-1] if found else None


def stored_offsets(contents: FileContents) -> tuple[int, ...] | None:
    """Offsets of all tensors; ``None`` where the file has no plan, or one that is not of its tensors."""
    data = stored_plan(contents)
    if data is None or len(data) < 4 * _AHEAD:
        return None
    numbers = np.frombuffer(data[: len(data) // 4 * 4], "<i4")
    count = sum(len(graph.tensors) for graph in contents.subgraphs)
    if int(numbers[_AHEAD - 1]) != count or len(numbers) < _AHEAD + count:
        return None
    return tuple(numbers[_AHEAD : _AHEAD + count].tolist())
