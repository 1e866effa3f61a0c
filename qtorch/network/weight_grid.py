"""The grid of a weight: symmetric, and with a scale that follows the weight, is learned, or was pinned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from qtorch.config import LayerConfig
from qtorch.numbers.functional import (
    WEIGHT_RANGE,
    along,
    exponential,
    largest_magnitude,
    whole_steps_straight_,
    with_room_for_bias,
)
from qtorch.numbers.short_mantissa import nearest_short, rounded_up_short
from qtorch.numbers.straight_through import Ends, Learned, lsq_gradient_scale, round_and_hold
from qtorch.ranges.observers import make_observer
from qtorch.surroundings import moved

__all__ = ["WeightGrid", "learns_scale"]


def learns_scale(config: LayerConfig) -> bool:
    """Whether a weight's scale is a parameter."""
    return config.scales in ("lsq", "lsq+")


class WeightGrid:
    """What of a weight's scale is not in the weight.

    A learned scale is a parameter of the layer, so that it is trained and saved as one: it is handed in as ``learned``,
    its natural logarithm, float32 ``[C]`` or ``[]``; ``None`` where the scale is not learned.

    Args:
        config: of the layer.
        axis: PyTorch's, along which the weight has a scale each; ``None`` for one in all.
        channels: how many scales there are, with ``axis``.

    Attributes:
        clip: float32 ``[C]`` or ``[]``: the share of a weight's largest magnitude that its highest code stands for;
            1 but for observers that clip. This and the next are saved with the layer, but are no buffers: those get
            averaged with weights.
        step: float32 ``[C]`` or ``[]``: a scale that nothing moves any more, where one was pinned; else 0.
        follows: whether the configuration lets the scale be the weight's largest magnitude's.
        pinned: whether another scale was put in its place; read from ``step`` only when that is written to.
        learned_now: a learned scale while a network is called, which works out all side by side; else ``None``.
        highest: the highest code, float32 ``[]``, where the weight is.
        short: whether there is one scale, so that kernels may take its products in float32: it has twelve bits
            (:mod:`qtorch.numbers.short_mantissa`).
    """

    def __init__(self, config: LayerConfig, axis: int | None, channels: int) -> None:
        self.config, self.axis = config, axis
        self.limit = WEIGHT_RANGE[config.weight_dtype][1]
        self.follows = config.observers[1] == "minmax" and not learns_scale(config)
        self.shape = () if axis is None else (channels,)
        self.short = math.prod(self.shape) == 1
        self.clip, self.step = (torch.full(self.shape, value, dtype=torch.float32) for value in (1.0, 0.0))
        self.pinned = False
        self.learned_now: Tensor | None = None
        # A tensor, and where the weight is: a GPU divides by a number of the host by multiplying with its reciprocal.
        self.highest = torch.tensor(float(self.limit), dtype=torch.float32)

    @property
    def covering(self) -> bool:
        """Whether the scale is its weight's largest magnitude's, so that nothing saturates."""
        return self.follows and not self.pinned

    def covering_scale(self, weight: Tensor) -> Tensor:
        """The scale at which the highest code stands for the weight's largest magnitude, ``[C]`` or ``[]``."""
        return torch.div(largest_magnitude(weight, self.axis), self.highest)

    def scale(self, weight: Tensor, bias: Tensor | None, source: Tensor, learned: Tensor | None) -> Tensor:
        """The scale as the device has it, ``[C]`` or ``[]``, without gradient.

        Args:
            weight: float32.
            bias: float32 ``[C]``, or ``None``; one that is large beside its weights widens the scale.
            source: the scale of the layer's input, float32 ``[]``.
            learned: see the class.
        """
        if self.covering:
            return self._shortened(with_room_for_bias(self.covering_scale(weight), bias, source))
        wanted = self.covering_scale(weight) * self.clip if learned is None else self.wanted(learned)
        return self._shortened(with_room_for_bias(torch.where(self.step > 0, self.step, wanted), bias, source))

    def _shortened(self, scale: Tensor) -> Tensor:
        return rounded_up_short(scale) if self.short else scale

    def steps(self, weight: Tensor, scale: Tensor, learned: Tensor | None, *, taken: bool = False) -> Tensor:
        """A weight in whole steps of its scale, float32, half to even; with gradients.

        Args:
            weight: float32.
            scale: from :meth:`scale`.
            learned: see the class; it gets a gradient, unless another scale was pinned.
            taken: whether ``scale`` is known to be the learned one.
        """
        real = torch.div(weight, along(scale, self.axis, weight.dim()))
        if self.covering:
            # Nothing saturates.
            return whole_steps_straight_(real)
        grid = None
        if learned is not None and not self.pinned:
            factor = self.share(weight.numel() // max(scale.numel(), 1))
            # None where a large bias has widened the scale.
            share: Any = factor if taken else (self.wanted(learned) >= scale) * factor
            grid = Learned("lsq", learned, share, None, self.axis)
        return round_and_hold(real, Ends(-self.limit, self.limit), learned=grid, even=True)

    def share(self, elements: int) -> float:
        """What the gradient of a scale of so many weights is multiplied by, where it is learned."""
        return lsq_gradient_scale(elements, self.limit)

    def wanted(self, learned: Tensor) -> Tensor:
        """What ``learned`` says, before a large bias widens it."""
        if self.learned_now is not None:
            return self.learned_now
        wanted = exponential(learned.detach())
        return nearest_short(wanted) if self.short else wanted

    @torch.no_grad()
    def settle(self, weight: Tensor, learned: Tensor | None) -> None:
        """Let the configuration's observer decide what the scale covers, from the weight as it is now."""
        observer = make_observer(self.config.observers[1], self.axis, 2 * self.limit + 1, symmetric=True)
        observer.observe(weight)
        low, high = observer.range()
        wanted = torch.maximum(-low, high).to(weight.device)
        if learned is not None:
            learned.copy_(torch.log((torch.clamp_min(wanted, 2.0**-30) / self.highest).to(torch.float64)))
            return
        full = largest_magnitude(weight, self.axis)
        self.clip.copy_(torch.where(full > 0, wanted / full.clamp_min(2.0**-120), 1.0).clamp(2.0**-20, 1.0))

    def pin(self, scale: Tensor) -> None:
        """Make ``scale``, ``[C]`` or ``[]``, the scale for good."""
        self.step.copy_(scale)
        self.pinned = True

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"clip": self.clip, "step": self.step}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See :meth:`state`."""
        self.clip.copy_(state["clip"])
        self.step.copy_(state["step"])
        self.pinned = bool((self.step > 0).any())

    def move(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Follow the layer to another device."""
        self.clip, self.step = moved(self.clip, fn), moved(self.step, fn)
        # No state has it, so that it is not what to_empty leaves of it.
        self.highest = torch.full_like(moved(self.highest, fn), float(self.limit))
