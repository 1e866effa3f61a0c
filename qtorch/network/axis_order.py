"""Between PyTorch's axis order and the device's: ``[N, C, H, W]`` is ``[N, H, W, C]`` there.

One-dimensional tensors ``[N, C, L]`` and features ``[N, C]`` are images of height (and width) 1.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["from_device", "from_image", "lift_weight", "to_device", "to_image"]


def to_image(x: Tensor) -> Tensor:
    """``[N, C]`` and ``[N, C, L]`` as ``[N, C, 1, 1]`` and ``[N, C, 1, L]``; ``[N, C, H, W]`` as it is."""
    while x.dim() < 4:
        x = x.unsqueeze(2)
    return x


def from_image(y: Tensor, rank: int) -> Tensor:
    """The opposite of :func:`to_image` for a tensor that had ``rank`` axes."""
    while y.dim() > rank:
        y = y.squeeze(2)
    return y


def lift_weight(weight: Tensor) -> Tensor:
    """A one-dimensional convolution's ``[O, I, K]`` as ``[O, I, 1, K]``; other ranks as they are."""
    return weight.unsqueeze(2) if weight.dim() == 3 else weight


def to_device(codes: Tensor, channels_last: bool) -> Tensor:
    """As a row's reference takes it."""
    return to_image(codes).permute(0, 2, 3, 1) if channels_last else codes


def from_device(y: Tensor, channels_last: bool, rank: int) -> Tensor:
    """As PyTorch's next layer takes it, ``rank`` that of the tensor that came in."""
    return from_image(y.permute(0, 3, 1, 2), rank) if channels_last else y
