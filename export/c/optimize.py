"""What plain C is made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["NO_LIMITS", "Limits", "Optimize"]

#: ``"balanced"`` takes flash where that saves most time, a tenth more than ``"size"``, which takes the least;
#: ``"speed"`` takes as much as saves time, ``"ram"`` the least RAM that
#: hardly takes more time.
Optimize = Literal["balanced", "size", "speed", "ram"]


@dataclass(frozen=True)
class Limits:
    """What a network may take, in bytes; ``None``: no limit.

    Attributes:
        flash: of program and constants; of the board, or less.
        ram: of working memory.
        asked: whether somebody asked for that much flash, which ``balanced`` may then spend.
        spent: of it on constants and the code that a choice of kernels knows of; where the rest of the code was seen.
    """

    flash: int | None = None
    ram: int | None = None
    asked: bool = False
    spent: int | None = None


#: Of no board in particular.
NO_LIMITS = Limits()
