"""Looking at a network without a trace: its mode and training flags behind a block are those from before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from qtorch.calibration import evaluating
from qtorch.fake_quant import Quantizer
from qtorch.layers import QuantizedOp

__all__ = ["left_as_it_was"]


@contextmanager
def left_as_it_was(network: nn.Module) -> Iterator[None]:
    """A block in evaluation, in which modes may be set; behind it, whatever happens, each module has its own again.

    Args:
        network: prepared; of any other network only the training flags are kept.
    """
    # Module by module: a network may be quantized in part.
    modes = [(module, module.mode) for module in network.modules() if isinstance(module, Quantizer | QuantizedOp)]
    try:
        with evaluating(network):
            yield
    finally:
        for module, mode in modes:
            module.mode = mode
