"""Releases of ESP-NN in which some function asks for another amount of memory than before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

__all__ = ["FILLED_VECTORS", "FIRST", "LATER", "RELEASES", "WHOLE_WINDOWS", "WITH_P4", "WITH_ROOM", "Release"]


@dataclass(frozen=True)
class Release:
    """A state of its size functions.

    Attributes:
        name: the first release that has it.
        since: the day of that release's source.
    """

    name: str
    since: date

    def has(self, other: Release) -> bool:
        """Whether what came with ``other`` is in it."""
        return self.since >= other.since


FIRST = Release("1.0.0-rc1", date(2023, 3, 28))
#: ESP32-P4 gets convolutions of its own.
WITH_P4 = Release("1.1.0", date(2024, 9, 16))
#: Depthwise convolutions in 16 bits ask for the room that aligning takes.
WITH_ROOM = Release("1.2.0", date(2026, 3, 30))
#: ESP32-S3 lays out whole windows of few channels.
WHOLE_WINDOWS = Release("1.2.1", date(2026, 4, 6))
#: ESP32-P4 does, too.
FILLED_VECTORS = Release("1.2.3", date(2026, 4, 27))
#: All that came after, to August 2026: they differ by the month, and were read in part.
LATER = Release("later", date(2026, 4, 28))
RELEASES = (FIRST, WITH_P4, WITH_ROOM, WHOLE_WINDOWS, FILLED_VECTORS)
