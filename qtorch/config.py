"""How a network is quantized, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qtorch.errors import BadConfiguration

__all__ = ["QuantizationConfig"]


@dataclass(frozen=True)
class QuantizationConfig:
    """Choices of :func:`qtorch.prepare`.

    Attributes:
        weights: one weight scale per output channel, or one per tensor.
        margin: how much wider than the calibration data every activation's range is, as a share of its span at each
            end, in [0, 1]. 0 where the inputs' limits are known; more where later inputs may lie beyond those seen,
            because what lies beyond a range saturates.

    Raises:
        BadConfiguration: a value outside its range.
    """

    weights: Literal["per_channel", "per_tensor"] = "per_channel"
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.weights not in ("per_channel", "per_tensor"):
            raise BadConfiguration(
                where="weights", expected="per_channel or per_tensor", got=repr(self.weights), remedy="choose one"
            )
        if not 0 <= self.margin <= 1:
            raise BadConfiguration(where="margin", expected="0 to 1", got=f"{self.margin}", remedy="try 0.2")
