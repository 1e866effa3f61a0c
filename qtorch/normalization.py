"""Normalization of a network's inputs, in the network: ``(x - offset) / span``, constants that nothing trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qtorch.errors import BadConfiguration
from qtorch.features import Feature

__all__ = ["Normalization", "normalize", "require_channels"]


def normalize(x: Tensor, offset: Tensor, span: Tensor) -> Tensor:
    """``(x - offset) / span``, the shape of ``x`` ``[N, C, ...]``; ``offset`` and ``span`` are ``[C]`` or ``[]``."""
    if offset.dim() and x.dim() > 2:
        offset, span = (t.reshape(-1, *[1] * (x.dim() - 2)) for t in (offset, span))
    return (x - offset) / span


class Normalization(nn.Module):
    """``(x - offset) / span`` as a network's first layer, so that it takes physical values itself.

    Example, bytes of a camera in three channels, and a table of two columns:
        >>> nn.Sequential(Normalization(span=255.0), nn.Conv2d(3, 8, 3, padding=1))
        >>> nn.Sequential(Normalization([250.0, 4.0], [60.0, 2.0]), nn.Linear(2, 16))

    Keras says ``Rescaling(1 / span, -offset / span)`` and ``Normalization(mean=offset, variance=span**2)``,
    torchvision ``Normalize(mean=offset, std=span)``.

    Attributes:
        offset: buffer, float32 ``[C]`` along axis 1 as in ``nn.BatchNorm2d``, or ``[]`` for all: what becomes 0.
        span: likewise, positive: the difference that becomes 1.

    Raises:
        BadConfiguration: a number is not finite, a span not positive, or there are more of one than of the other.
    """

    offset: Tensor
    span: Tensor

    def __init__(
        self, offset: float | Sequence[float] | Tensor = 0.0, span: float | Sequence[float] | Tensor = 1.0
    ) -> None:
        super().__init__()
        floats = (torch.as_tensor(each, dtype=torch.float32).detach().clone() for each in (offset, span))
        shift, width = floats
        shape = shift.shape if shift.dim() else width.shape
        if len(shape) > 1 or 0 in shape or any(each.dim() and each.shape != shape for each in (shift, width)):
            raise _bad(
                "a number each, or one for each channel",
                f"shapes {list(shift.shape)} and {list(width.shape)}",
                "give offset and span as many numbers as axis 1 has elements, or one",
            )
        if not torch.isfinite(shift).all() or not (torch.isfinite(width) & (width > 0)).all():
            raise _bad(
                "finite offsets and positive, finite spans in float32",
                f"offset {shift.tolist()} and span {width.tolist()}",
                "leave out a constant feature, and NaN and infinity of the data",
            )
        self.register_buffer("offset", shift.expand(shape).clone())
        self.register_buffer("span", width.expand(shape).clone())

    @classmethod
    def of(cls, features: Sequence[Feature]) -> Normalization:
        """What outside the network would be done to these features: one for all elements, or one for each channel.

        The features that describe the network's own inputs are then plain ones, offset 0 and span 1.
        """
        offsets, spans = ([getattr(feature, name) for feature in features] for name in ("offset", "span"))
        return cls(offsets[0], spans[0]) if len(features) == 1 else cls(offsets, spans)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, ...]`` to the same shape.

        Raises:
            BadConfiguration: there are as many offsets as ``x`` has no channels.
        """
        require_channels(self, tuple(x.shape))
        return normalize(x, self.offset, self.span)

    def extra_repr(self) -> str:
        """Offset and span, for ``print(network)``."""
        return f"offset={self.offset.tolist()}, span={self.span.tolist()}"


def require_channels(norm: Normalization, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of other channels.

    Raises:
        BadConfiguration: axis 1 has another size than the offsets.
    """
    if norm.offset.dim() and (len(shape) < 2 or shape[1] != len(norm.offset)):
        raise _bad(
            f"an input [N, {len(norm.offset)}, ...], as many channels as offsets",
            f"shape {list(shape)}",
            "give an offset and a span for each element of axis 1, or one for all",
        )


def _bad(expected: str, got: str, remedy: str) -> BadConfiguration:
    return BadConfiguration(where="Normalization", expected=expected, got=got, remedy=remedy)
