"""What the sums of products of one layer are made with and rescaled by in one step of training."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from qtorch.families.accumulator import sum_factor
from qtorch.network.layer_constants import LayerConstants
from qtorch.network.quantizer import Quantizer
from qtorch.network.summing import Summing, summing_of
from qtorch.numbers.linear_in_steps import LayerParameters
from qtorch.numbers.rescaling import Rescaling, rescaling, rescaling_of_16_bits
from qtorch.numbers.sum_figures import LinearFigures, SumFigures
from qtorch.row.row import Attrs

__all__ = [
    "LinearRun",
    "SumConstants",
    "SumLayer",
    "from_figures",
    "linear_parameters",
    "rescaled_anew",
    "sum_constants",
]


class SumLayer(Protocol):
    """What is read here of a layer that makes sums of products."""

    constants: LayerConstants
    sources: dict[str, Quantizer]
    attrs: Attrs
    #: Whether the op is nothing but a matrix product whose rounding has the usual gradient.
    is_linear: bool

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


class LinearRun(NamedTuple):
    """Linear layers one behind the other, which are computed where the first is called; empty at the others.

    Attributes:
        thread: in which the network is called. Another that calls it meanwhile computes layer by layer.
        constants: of the layers.
        figures: likewise.
    """

    thread: int
    constants: tuple[LayerConstants, ...] = ()
    figures: tuple[LinearFigures, ...] = ()

    def parameters(self) -> list[LayerParameters]:
        """Those of each layer."""
        return list(map(linear_parameters, self.constants))

    def part(self) -> None:
        """Let each layer be computed where it is called."""
        for constants, figures in zip(self.constants, self.figures, strict=True):
            constants.figures = figures.sums


def linear_parameters(constants: LayerConstants) -> LayerParameters:
    """What of a linear layer gets gradients."""
    folded, learned = constants.folded(), constants.output._parameters
    return (
        folded["weight"], folded.get("bias"), constants.learned_scale, learned.get("log_scale"),
        learned.get("zero_share"),
    )  # fmt: skip


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


def from_figures(figures: SumFigures, layer: SumLayer) -> SumConstants:
    """Of one layer whose figures were worked out with all others', for more calls than one."""
    folded = layer.constants.folded()
    weight, bias, scale = folded["weight"], folded.get("bias"), figures.scale.clone()
    assert layer.constants.weight_grid is not None
    steps = layer.constants.weight_grid.steps(weight, scale, layer.constants.learned_scale, taken=True)
    if bias is not None:
        # Behind autograd's back, to which it remains a quotient.
        bias = torch.div(bias, scale * layer.sources["input"].scale)
        bias.detach().copy_(figures.bias)
    factors = Rescaling(figures.factor, figures.inner, figures.factor.to(torch.float32))
    return SumConstants(steps, bias, scale, Summing(torch.float32, True, 0.0, 31), factors, False)


def rescaled_anew(made: SumConstants, layer: SumLayer) -> SumConstants:
    """The same once the grid of the layer's output has moved."""
    factors = _rescaling(layer, made.scale)
    return made._replace(rescaling=factors, any_sum=made.summing.any_sum(factors))


def _rescaling(layer: SumLayer, scale: Tensor) -> Rescaling:
    real = sum_factor(layer.sources["input"].scale, scale, layer.output.scale)
    return rescaling(real) if layer.output.dtype == "int8" else rescaling_of_16_bits(real)
