"""The quantizer of a state that an op keeps between steps: a power of two, measured and then left as it is."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from qtorch.config import LayerConfig
from qtorch.network.quantizer import Quantizer
from qtorch.numbers.functional import range_to_grid
from qtorch.numbers.grid import Grid
from qtorch.row.states import ObservedState

__all__ = ["StateQuantizer"]


class StateQuantizer(Quantizer):
    """The grid of a state, which the kernel alone sees: it observes, and rounds nothing.

    Args:
        state: what the kernel asks of it.
        config: of the layer; what it says of learned scales is not for states.
    """

    def __init__(self, state: ObservedState, config: LayerConfig) -> None:
        super().__init__(replace(config.with_activations(state.dtype), scales="measured"), dtype=state.dtype)
        self.state = state

    @property
    def exponent(self) -> int:
        """Of the scale.

        Raises:
            BadConfiguration: the range was never measured.
        """
        return int(math.log2(self.qparams().scale[0]))

    @property
    def follows(self) -> bool:
        """Not in quantized training, which sees no real numbers of it."""
        return False

    @torch.no_grad()
    def settle(self) -> None:
        """Take the least power of two that holds the range that the observer saw, with the margin."""
        low, high = self.observer.range()
        more = self.config.margin * (high - low)
        scale = float(range_to_grid(low - more, high + more, self.dtype).scale)
        least, most = self.state.exponents
        exponent = min(max(math.ceil(math.log2(scale)), least), most)
        self._take(Grid(torch.tensor(2.0**exponent), self.zero_point, self.dtype))
