"""Observers see a tensor's values and answer with their range; they do nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration, NotFinite

__all__ = ["MinMaxObserver"]


class MinMaxObserver(nn.Module):
    """The smallest and largest value seen since the last reset.

    Buffers ``low`` and ``high``: float32 ``[]``; ``low > high`` until something was seen.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(float("inf")))
        self.register_buffer("high", torch.tensor(float("-inf")))

    def reset(self) -> None:
        """Forget everything."""
        self.low.fill_(float("inf"))
        self.high.fill_(float("-inf"))

    def observe(self, x: Tensor) -> None:
        """Widen the range to ``x``, float32 of any shape.

        Raises:
            NotFinite: ``x`` holds NaN or infinity, from which no range can follow.
        """
        low, high = torch.aminmax(x.detach())
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise NotFinite(
                where="calibration",
                expected="finite activations",
                got=f"a range of {float(low)} to {float(high)}",
                remedy="look for NaN or infinity in the calibration data and the weights",
            )
        torch.minimum(self.low, low, out=self.low)
        torch.maximum(self.high, high, out=self.high)

    @property
    def seen(self) -> bool:
        """Whether any value was observed."""
        return bool(self.low <= self.high)

    def range(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value seen, float32 ``[]``.

        Raises:
            BadConfiguration: nothing was seen.
        """
        if not self.seen:
            raise BadConfiguration(
                where="observer", expected="observed values", got="none", remedy="calibrate on at least one batch"
            )
        return self.low, self.high
