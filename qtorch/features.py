"""What a network's numbers mean outside it: names, units, and the scaling between physical and network values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Feature", "Interface"]


@dataclass(frozen=True)
class Feature:
    """One physical quantity at an input or output of a network.

    ``network value = (physical value - offset) / span``; offset 0 and span 1 where the network sees it as it is.

    Attributes:
        name: as a person says it, for example ``"engine size"``.
        unit: for example ``"L"``; empty for a pure number.
        offset: physical value that the network sees as 0, in ``unit``.
        span: physical difference that the network sees as 1, in ``unit``; positive.
    """

    name: str
    unit: str = ""
    offset: float = 0.0
    span: float = 1.0


@dataclass(frozen=True)
class Interface:
    """The quantities at a network's input and output, in the order of the last axis of each tensor."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
