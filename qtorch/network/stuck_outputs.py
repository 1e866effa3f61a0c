"""Outputs that training hardly moves any more, because most of what they are lies at the ends of a range that stays."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.compiler import is_compiling

from qtorch.network.mode import Mode
from qtorch.network.quantizer import Quantizer

__all__ = ["TO_HOLD_WHAT_GREW", "StuckOutputs"]

TO_HOLD_WHAT_GREW = (
    "calibrate again and train on in QUANTIZED, or prepare with head-room, by qtorch.QuantizationConfig(margin=0.2), "
    "or with ranges that are learned, by qtorch.QuantizationConfig(scales='lsq'); "
    "calibrated before any training, train in Mode.FLOAT first, then calibrate and train in QUANTIZED"
)

#: After how many steps of quantized training an output is looked at, which waits for the device that has it; and what
#: share of it may lie at the ends then. A classifier that was trained in floats for some steps has up to half there
#: after 64, one that was not nine tenths, and learns no more; in the end both have most.
_MOST_AT_THE_ENDS = {64: 0.75, 256: 0.9, 1024: 0.95}


class StuckOutputs:
    """Looks at one output of a network now and then, and warns once of what holds training up."""

    def __init__(self) -> None:
        self.steps, self.said = 0, False

    def look(self, reals: Tensor, quantizer: Quantizer) -> None:
        """A training step's output, real numbers on a grid.

        Warns:
            UserWarning: so many values lie at the ends of its range as those of a network that was calibrated before
                it was trained.
        """
        if is_compiling() or self.said or not (torch.is_grad_enabled() and reals.requires_grad):
            return
        self.steps = self.steps + 1 if quantizer.mode is Mode.QUANTIZED else 0
        most = _MOST_AT_THE_ENDS.get(self.steps)
        if most is None or not _stays(quantizer):
            return
        ends = quantizer.ends()
        low, high = (end * quantizer.scale for end in (ends.low, ends.high))
        share = float(((reals <= low) | (reals >= high)).float().mean())
        if share <= most:
            return
        self.said = True
        warnings.warn(
            f"training: after {self.steps} steps {share:.0%} of an output's {reals.numel()} values lie at the ends of "
            f"its range, {float(low):.4g} and {float(high):.4g}; what is to lie beyond gets no gradient, and the "
            f"network hardly learns any more. Remedy: {TO_HOLD_WHAT_GREW}",
            UserWarning,
            stacklevel=3,
        )


def _stays(quantizer: Quantizer) -> bool:
    """Whether a range neither follows, nor is learned, nor is the op's own, nor cut at zero."""
    own = quantizer.fixed is not None or quantizer.rectified or quantizer.of_indices
    return quantizer.learned == "measured" and quantizer.config.gradient != "plain" and not (quantizer.follows or own)
