"""What is asked of a compilation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from export.boards import Board
from export.c.optimize import Optimize
from qtorch.editions.edition import Edition

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """One compilation of a file.

    Attributes:
        name: of the model, a C identifier.
        where: what to call the file in an error.
        target: the board that has to hold it.
        edition: of TFLite Micro, that is there.
        optimize: what the C is made for.
        firmware: what the project runs, where there is one: ``"tflm"`` or ``"c"``; else ``"none"``.
        tflite: whether the file is written again.
        samples: drawn inputs to compare; ``None``: as many as take some seconds.
        signature: which of the file's networks; empty: the first.
        fast: bytes of the faster of two memories that the C may take; ``None``: all that the board has.
        flash: bytes that the C may take; ``None``: see :class:`export.c.optimize.Limits`.
    """

    name: str
    where: str
    target: Board
    edition: Edition
    optimize: Optimize = "balanced"
    firmware: Literal["none", "tflm", "c"] = "none"
    tflite: bool = False
    samples: int | None = None
    signature: str = ""
    fast: int | None = None
    flash: int | None = None
