"""Scales of twelve significant bits, whose products are the same in float32 and in double.

Kernels differ in the type in which they multiply the scales of an input and of a weight. The product of two numbers of
twelve bits has twenty-four, which float32 holds, so that it does not matter: all of them get one multiplier. It costs a
range at most a part in 2048.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["nearest_short", "round_up_short_", "rounded_up_short"]

#: The bits of a float32 that are behind its first twelve significant ones.
_BEHIND = 0xFFF


def rounded_up_short(scale: Tensor) -> Tensor:
    """The least number of twelve bits that is not below ``scale``, float32 of any shape, positive and normal."""
    return ((scale.view(torch.int32) + _BEHIND) & ~_BEHIND).view(torch.float32)


def round_up_short_(bits: Any) -> None:
    """:func:`rounded_up_short` of a NumPy array, int32 over the scales' memory, which is overwritten."""
    bits += _BEHIND
    bits &= ~_BEHIND


def nearest_short(scale: Tensor) -> Tensor:
    """The nearest number of twelve bits to ``scale``, float32 of any shape, positive and normal; of two the larger."""
    return ((scale.view(torch.int32) + (_BEHIND + 1) // 2) & ~_BEHIND).view(torch.float32)
