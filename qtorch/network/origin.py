"""What a prepared network was made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from qtorch.config import QuantizationConfig

if TYPE_CHECKING:
    from qtorch.network.quantized_network import QuantizedNetwork

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """What a network was prepared from.

    Attributes:
        net: the float network; its parameters and buffers are the prepared network's own.
        shapes: of the example inputs, batch axis included.
        config: how it is quantized.
        made_by: makes the same network from ``net``, an example call and ``config``.
        post_training: digest of the weights that quantization without training left; empty where there was none.
    """

    net: nn.Module
    shapes: tuple[tuple[int, ...], ...]
    config: QuantizationConfig
    made_by: Callable[[nn.Module, Any, QuantizationConfig], QuantizedNetwork]
    post_training: str = ""

    @property
    def samples(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of one sample of each input."""
        return tuple(shape[1:] for shape in self.shapes)
