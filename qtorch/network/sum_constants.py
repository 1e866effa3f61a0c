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
from qtorch.network.read_once import ReadOnce
from qtorch.network.summing import Summing, summing_of
from qtorch.numbers.functional import SMALLEST_WEIGHT_SCALE, along, over_channels, whole_steps_straight_
from qtorch.numbers.linear_in_steps import SharedFigures
from qtorch.numbers.rescaling import Rescaling, is_exact, rescaling, rescaling_of_16_bits, split_factor_
from qtorch.row.row import Attrs

__all__ = ["SumConstants", "SumLayer", "Together", "from_figures", "rescaled_anew", "sum_constants"]


class SumLayer(Protocol):
    """What is read here of a layer that makes sums of products."""

    constants: LayerConstants
    sources: dict[str, Quantizer]
    attrs: Attrs

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
    """The layers of a network whose figures are worked out side by side, in memory that stays.

    Args:
        layers: each one that it :meth:`takes`.
    """

    def __init__(self, layers: Sequence[SumLayer]) -> None:
        self.layers = tuple(layers)
        self._quantizers = [quantizer for each in layers for quantizer in (each.sources["input"], each.output)]
        self._read = ReadOnce()

    @staticmethod
    def takes(layer: SumLayer) -> bool:
        """Whether a layer has int8 weights with a scale per channel that covers them, measured grids, and a CPU."""
        grid, source, output = layer.constants.weight_grid, layer.sources["input"], layer.output
        return (
            grid is not None
            and grid.covering
            and grid.axis is not None
            and source.learned == output.learned == "measured"
            and source.dtype == output.dtype == "int8"
            and not output.follows
            and layer.constants.on_cpu_in_float32()
            # Pruning, and norms of weights, compute a weight when the layer is called.
            and not layer.constants.holder._forward_pre_hooks
        )

    def _prepare(self) -> None:
        """Work out what depends on activations alone."""
        measured = [quantizer.measured for quantizer in self._quantizers]
        channels = [each.constants.channels for each in self.layers]
        counts, total = torch.tensor(channels), sum(channels)
        sources, outputs = (torch.stack(part).repeat_interleave(counts) for part in (measured[::2], measured[1::2]))
        self._source, self._source64, self._output64 = sources, sources.to(torch.float64), outputs.to(torch.float64)
        limits = [each.constants.weight_limit for each in self.layers]
        self._limits = torch.tensor(limits, dtype=torch.float32).repeat_interleave(counts)
        # One half where nothing below 0 matters; see rescale.
        rectified = [0.5 * each.output.ends(each.attrs["activation"]).rectified for each in self.layers]
        self._halves = torch.tensor(rectified, dtype=torch.float64).repeat_interleave(counts)
        self._no_bias = [torch.zeros(count, dtype=torch.float32) for count in channels]
        self._largest = [each.constants.largest_products for each in self.layers]
        self._scale, self._codes = (torch.empty(total, dtype=torch.float32) for _ in range(2))
        self._factor, self._nudge = (torch.empty(total, dtype=torch.float64) for _ in range(2))
        self._bits, self._nudge_bits = self._factor.view(torch.int64), self._nudge.view(torch.int64)
        self._figures: list[SharedFigures] = []
        for index, layer in enumerate(self.layers):
            here = slice(sum(channels[:index]), sum(channels[: index + 1]))
            scale, codes, factor, nudge = (t[here] for t in (self._scale, self._codes, self._factor, self._nudge))
            ratio, ends = layer.sources["input"].step / layer.output.step, layer.output.ends(layer.attrs["activation"])
            figures = (scale, scale.unsqueeze(1), codes, factor, nudge, ratio, 1 / layer.output.step, ends)
            self._figures.append(SharedFigures(*figures))

    @torch.no_grad()
    def compute(self) -> list[SharedFigures | None]:
        """Of each layer, until the next call; ``None`` of one that has to be looked at by itself."""
        # Anew only when a grid of the activations has changed.
        self._read(tuple([quantizer.measured for quantizer in self._quantizers]), "activations", self._prepare)
        constants = [each.constants for each in self.layers]
        folded = [each.folded() for each in constants]
        magnitudes = torch._foreach_abs([each["weight"] for each in folded])
        largest = [over_channels(each, own.channel_axis) for each, own in zip(magnitudes, constants, strict=True)]
        scale = torch.cat(largest, out=self._scale).div_(self._limits).clamp_min_(SMALLEST_WEIGHT_SCALE)
        bias = torch.cat([each.get("bias", zero) for each, zero in zip(folded, self._no_bias, strict=True)])
        codes = whole_steps_straight_(torch.div(bias.to(torch.float64), scale * self._source))
        self._codes.copy_(codes)
        low, high = torch.aminmax(codes)
        largest_bias = max(-float(low), float(high))
        torch.mul(scale, self._source64, out=self._factor).div_(self._output64)
        split_factor_(self._bits, self._nudge_bits)
        self._nudge.fmod_(0.5).add_(self._halves)
        made: list[SharedFigures | None] = []
        for products, figures in zip(self._largest, self._figures, strict=True):
            # Sums as small as these leave no bias that would have widened the scale.
            exact = products + largest_bias < 2.0**24 and is_exact(products + largest_bias, figures.factor, 31)
            made.append(figures if exact else None)
        return made


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


def from_figures(figures: SharedFigures, layer: SumLayer) -> SumConstants:
    """Of one layer whose figures were worked out with all others', for more calls than one."""
    folded, axis = layer.constants.folded(), layer.constants.channel_axis
    weight, bias, scale = folded["weight"], folded.get("bias"), figures.scale.clone()
    steps = whole_steps_straight_(torch.div(weight, along(scale, axis, weight.dim())))
    if bias is not None:
        # Behind autograd's back, to which it remains a quotient.
        bias = torch.div(bias, scale * layer.sources["input"].measured)
        bias.detach().copy_(figures.bias)
    factors = Rescaling(figures.factor, figures.nudge, figures.nudge, figures.factor.to(torch.float32))
    return SumConstants(steps, bias, scale, Summing(torch.float32, True, 0.0, 31), factors, False)


def rescaled_anew(made: SumConstants, layer: SumLayer) -> SumConstants:
    """The same once the grid of the layer's output has moved."""
    factors = _rescaling(layer, made.scale)
    return made._replace(rescaling=factors, any_sum=made.summing.any_sum(factors))


def _rescaling(layer: SumLayer, scale: Tensor) -> Rescaling:
    real = sum_factor(layer.sources["input"].scale, scale, layer.output.scale)
    return rescaling(real) if layer.output.dtype == "int8" else rescaling_of_16_bits(real)
