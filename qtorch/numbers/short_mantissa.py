"""Scales of twelve significant bits, whose products are the same in float32 and in double.

Kernels differ in the type in which they multiply the scales of an input and of a weight. The product of two numbers of
twelve bits has twenty-four, which float32 holds, so that it does not matter: all of them get one multiplier. It costs a
range at most a part in 2048.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "is_power_of_two",
    "nearest_short",
    "power_of_two_beside",
    "round_up_short_",
    "rounded_up_power_of_two",
    "rounded_up_short",
]

#: The bits of a float32 that are behind its first twelve significant ones.
_BEHIND = 0xFFF
#: All that are behind the first.
_MANTISSA = 0x7FFFFF


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


def rounded_up_power_of_two(scale: Tensor) -> Tensor:
    """The least power of two that is not below ``scale``, float32 of any shape, positive and normal."""
    return ((scale.view(torch.int32) + _MANTISSA) & ~_MANTISSA).view(torch.float32)


def is_power_of_two(scale: Tensor) -> Tensor:
    """Which of ``scale`` are, bool; float32 of any shape, positive and normal. Quotients of two such are exact."""
    return (scale.view(torch.int32) & _MANTISSA) == 0


def power_of_two_beside(scale: Tensor, others: Sequence[Tensor]) -> Tensor:
    """A scale rounded up to a power of two where ``others`` are powers of two, else as it is; float32 ``[]`` all."""
    return torch.where(is_power_of_two(torch.stack([*others])).all(), rounded_up_power_of_two(scale), scale)
