"""The modes of a prepared network: what it computes."""

from __future__ import annotations

import warnings
from enum import Enum, EnumMeta
from typing import Any

__all__ = ["Mode"]


class _EarlierNames(EnumMeta):
    """Says what to write for a mode of an earlier version, and gives that."""

    def __getattr__(cls, name: str) -> Any:
        # Python 3.10 looks its members up here.
        members: dict[str, Any] = cls.__dict__.get("_member_map_", {})
        if name in members:
            return members[name]
        if name not in ("FAKE", "EXACT"):
            raise AttributeError(f"Mode has no member {name!r}; it has FLOAT, CALIBRATE and QUANTIZED")
        warnings.warn(
            f"Mode.{name} is Mode.QUANTIZED now, the device's own integers; the earlier name goes in 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return cls["QUANTIZED"]


class Mode(Enum, metaclass=_EarlierNames):
    """What a quantized network computes.

    FLOAT: the float network it was prepared from. CALIBRATE: the same, while observers watch. QUANTIZED: the device's
    own integers, with straight-through gradients.
    """

    FLOAT = "float"
    CALIBRATE = "calibrate"
    QUANTIZED = "quantized"

    @classmethod
    def _missing_(cls, value: object) -> Mode | None:
        """What states that earlier versions saved call it."""
        return cls.QUANTIZED if value in ("fake", "exact") else None
