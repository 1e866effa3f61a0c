"""What sums of products are made with and rescaled by in one step: of one layer, or of a whole network at once.

Scales of weights follow the weights, so all of it is worked out anew in every step of training. Of small layers that
takes longer than the sums; the figures of all channels of all layers are therefore worked out side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from qtorch.families.accumulator import sum_factor
from qtorch.network.layer_constants import LayerConstants
from qtorch.network.quantizer import Quantizer
from qtorch.network.summing import Summing, largest_products, summing_of
from qtorch.numbers.functional import (
    BIAS_LIMIT,
    SMALLEST_WEIGHT_SCALE,
    along,
    largest_magnitude,
    whole_steps_straight_,
)
from qtorch.numbers.rescaling import Rescaling, is_exact, rescaling, rescaling_of_16_bits

__all__ = ["SumConstants", "SumLayer", "Together", "rescaled_anew", "sum_constants"]


class SumLayer(Protocol):
    """What is read here of a layer that makes sums of products."""

    constants: LayerConstants
    sources: dict[str, Quantizer]

    @property
    def output(self) -> Quantizer:
        """The quantizer of the result."""


class SumConstants(NamedTuple):
    """One layer's, for one step.

    Attributes:
        weight: whole steps, float32, with gradient.
        bias: whole steps with gradient: float32 where the sums hold it, else float64; ``None`` without one.
        scale: of the weight, float32 ``[C]`` or ``[]``.
        summing: in which type products are summed.
        rescaling: from sums to the output's steps, ``[C]`` or ``[]``.
        any_sum: whether rescaling has to hold for all sums.
    """

    weight: Tensor
    bias: Tensor | None
    scale: Tensor
    summing: Summing
    rescaling: Rescaling
    any_sum: bool


class Together:
    """The layers of a network whose figures are worked out side by side.

    Args:
        layers: each with int8 weights of a scale per channel that covers them, on a CPU; with measured grids before and
            behind it.
    """

    def __init__(self, layers: Sequence[SumLayer]) -> None:
        self.layers = tuple(layers)
        self.channels = [each.constants.channels for each in layers]
        self._measured: list[Tensor] = []
        self._versions: list[tuple[int, int]] = []

    @staticmethod
    def takes(layer: SumLayer) -> bool:
        """Whether a layer is as the class has it, in this step of training."""
        grid, source, output = layer.constants.weight_grid, layer.sources["input"], layer.output
        return (
            grid is not None
            and grid.covering
            and grid.axis is not None
            and source.learned == output.learned == "measured"
            and source.dtype == output.dtype == "int8"
            and not output.follows
            and layer.constants.on_cpu_in_float32
            # Pruning, and norms of weights, compute a weight when the layer is called.
            and not layer.constants.holder._forward_pre_hooks
        )

    def figures(self) -> None:
        """Of the activations, for each channel of each layer; worked out again only when one has changed."""
        quantizers = [quantizer for each in self.layers for quantizer in (each.sources["input"], each.output)]
        measured = [quantizer.measured for quantizer in quantizers]
        # A tensor that came in the place of another, from another device, counts its changes anew.
        versions = [(id(each), each._version) for each in measured]
        if versions == self._versions:
            return
        self._measured = measured
        counts = torch.tensor(self.channels)
        sources, outputs = (torch.stack(part).repeat_interleave(counts) for part in (measured[::2], measured[1::2]))
        self.source, self.room = sources, sources * BIAS_LIMIT
        self.source64, self.output64 = sources.to(torch.float64), outputs.to(torch.float64)
        limits = [each.constants.weight_limit for each in self.layers]
        self.limits = torch.tensor(limits, dtype=torch.float32).repeat_interleave(counts)
        self._versions = versions

    def compute(self) -> list[SumConstants | None]:
        """Of each layer; ``None`` of one that has to be looked at by itself."""
        self.figures()
        folded = [each.constants.folded() for each in self.layers]
        axes = [each.constants.channel_axis for each in self.layers]
        weights = [each["weight"] for each in folded]
        with torch.no_grad():
            largest = [largest_magnitude(each, axis) for each, axis in zip(weights, axes, strict=True)]
            scale = torch.cat(largest).div_(self.limits)
        biases = [each.get("bias") for each in folded]
        bias = torch.cat([b if b is not None else torch.zeros(n) for b, n in zip(biases, self.channels, strict=True)])
        with torch.no_grad():
            needed = torch.div(bias.detach().abs(), self.room).add_(SMALLEST_WEIGHT_SCALE)
            torch.maximum(scale, needed, out=scale)
            unit = self.source * scale
            codes = whole_steps_straight_(torch.div(bias.detach().to(torch.float64), unit.to(torch.float64)))
            largest_bias = float(torch.maximum(-codes.amin(), codes.amax()))
            factors = rescaling(scale * self.source64 / self.output64)
        steps = torch.div(bias, unit)
        steps.detach().copy_(codes)
        parts = [each.split_with_sizes(self.channels) for each in (scale, steps, *factors)]
        found: list[SumConstants | None] = []
        for index, layer in enumerate(self.layers):
            scales, whole, *rescalings = (part[index] for part in parts)
            axis = axes[index]
            largest_sum = largest_products(weights[index], axis, layer.sources["input"].reach) + largest_bias
            own = Rescaling(*rescalings)
            if not (largest_sum < 2.0**24 and is_exact(largest_sum, own, 31)):
                found.append(None)
                continue
            weight = whole_steps_straight_(torch.div(weights[index], along(scales, axis, weights[index].dim())))
            summing = Summing(torch.float32, True, largest_sum, 31)
            has_bias = biases[index] is not None
            found.append(SumConstants(weight, whole if has_bias else None, scales, summing, own, False))
        return found


def sum_constants(layer: SumLayer, x: Tensor) -> SumConstants:
    """Of one layer by itself, whatever its grids are.

    Args:
        layer: it.
        x: input, in steps.
    """
    constants, source = layer.constants, layer.sources["input"]
    steps, grids = constants.in_steps()
    weight, bias = steps["weight"], steps.get("bias")
    summing = summing_of(x, weight, bias, constants.channel_axis, source.reach, layer.output.dtype)
    if bias is not None and summing.with_bias:
        bias = bias.to(summing.dtype)
    factors = _rescaling(layer, grids["weight"].scale)
    return SumConstants(weight, bias, grids["weight"].scale, summing, factors, summing.any_sum(factors))


def rescaled_anew(made: SumConstants, layer: SumLayer) -> SumConstants:
    """The same once the grid of the layer's output has moved."""
    factors = _rescaling(layer, made.scale)
    return made._replace(rescaling=factors, any_sum=made.summing.any_sum(factors))


def _rescaling(layer: SumLayer, scale: Tensor) -> Rescaling:
    real = sum_factor(layer.sources["input"].scale, scale, layer.output.scale)
    return rescaling(real) if layer.output.dtype == "int8" else rescaling_of_16_bits(real)
