"""How a network is quantized, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["QuantizationConfig"]


@dataclass(frozen=True)
class QuantizationConfig:
    """Choices of :func:`qtorch.prepare`.

    Attributes:
        weights: one weight scale per output channel, or one per tensor.
    """

    weights: Literal["per_channel", "per_tensor"] = "per_channel"
