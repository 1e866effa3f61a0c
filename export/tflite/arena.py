"""The smallest tensor arena that TFLite Micro accepts for a model, found by trying.

TFLM's own ``arena_used_bytes`` understates what allocation needs at its peak. And a failed allocation can take the
process down with it, so the attempts run in another one; an attempt that kills it counts as a failure.
"""

from __future__ import annotations

import math
import re

import numpy as np

from export.engines.apart import EngineRefused, Limits, Process
from qtorch.progress import Stage, stage

__all__ = ["LARGEST_ARENA", "NoArena", "smallest_arena"]

#: Arenas are tried at this granularity, in bytes; it is also their alignment.
STEP = 16
#: What is tried at most, 16 MiB: more than a microcontroller has.
LARGEST_ARENA = 2**24

#: What TFLite Micro says where it is the arena that does not do.
_TOO_SMALL = re.compile(r"too small|Failed to resize buffer|missing: \d|Failed to allocate (?!tensors)|exceeds")


class NoArena(EngineRefused, MemoryError):
    """Not even :data:`LARGEST_ARENA` is enough for a model."""


def smallest_arena(model: bytes, where: str = "model", limits: Limits = Limits()) -> int:  # noqa: B008 - frozen
    """Bytes, a multiple of 16, on this machine's word size with TFLM's reference kernels.

    Doubles until an arena is accepted, then bisects.

    Args:
        model: the file.
        where: what to call it in an error.
        limits: of the process that tries, and of each try.

    Raises:
        NoArena: not even 16 MiB are enough.
        EngineRefused: it is not for lack of memory that TFLite Micro does not load the model.
    """
    probe = Process("TFLite Micro", "tflm", limits, where)
    with stage("trying arenas") as progress:
        try:
            return _searched(probe, np.frombuffer(model, np.uint8), progress)
        finally:
            probe.close()


def _accepts(probe: Process, model: np.ndarray, size: int) -> bool:
    try:
        probe.ask({"do": "arena", "arena": size}, [model])
    except EngineRefused as refused:
        if refused.kind == "time":
            raise
        return False
    return True


def _searched(probe: Process, model: np.ndarray, progress: Stage) -> int:
    """See :func:`smallest_arena`."""
    try:
        probe.ask({"do": "arena", "arena": LARGEST_ARENA}, [model])
    except EngineRefused as refused:
        if refused.kind != "refuses" or not _TOO_SMALL.search(refused.words):
            raise
        raise NoArena(
            "TFLite Micro", "memory", f"no arena up to {LARGEST_ARENA} bytes lets TFLite Micro load the model",
            where=probe.where, remedy="make its tensors smaller; a microcontroller has less",
        ) from refused  # fmt: skip
    high = 1024
    while not _accepts(probe, model, high):
        high *= 2
    low = high // 2 if high > 1024 else 0
    # From here on each try halves what is left.
    progress.total = math.ceil(math.log2((high - low) / STEP))
    while high - low > STEP:
        middle = (low + high) // 2 // STEP * STEP
        low, high = (low, middle) if _accepts(probe, model, middle) else (middle, high)
        progress.advance()
    return high
