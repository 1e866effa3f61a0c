"""What plain C is made for."""

from __future__ import annotations

from typing import Literal

__all__ = ["Optimize"]

#: ``"size"`` takes the least flash, ``"speed"`` more of it where that saves time, ``"ram"`` the least RAM.
Optimize = Literal["size", "speed", "ram"]
