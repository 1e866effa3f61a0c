"""Normalizations by statistics of the sample itself, in the ops that the device has.

MEAN, SQUARED_DIFFERENCE, MEAN, ADD (the epsilon), RSQRT, SUB, MUL, and MUL and ADD of weight and bias where there are
some. :mod:`qtorch.preparation.summed_squares` gives squares and their mean 16 bits where asked. Sources: Ba et al.
2016 (arXiv:1607.06450), Ulyanov et al. 2016 (arXiv:1607.08022), Wu and He 2018 (arXiv:1803.08494), Zhang and Sennrich
2019 (arXiv:1910.07467).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from qtorch.capture.compositions.table import decomposes, reshaped, shape_of, squared_difference

aten = torch.ops.aten


def _standardized(x: Any, axes: list[int], eps: float) -> Any:
    mean = aten.mean.dim(x, axes, True)
    variance = aten.mean.dim(squared_difference(x, mean), axes, True)
    return aten.mul.Tensor(aten.sub.Tensor(x, mean), aten.rsqrt.default(aten.add.Tensor(variance, eps)))


def _scaled(x: Any, weight: Any, bias: Any) -> Any:
    scaled = x if weight is None else aten.mul.Tensor(x, weight)
    return scaled if bias is None else aten.add.Tensor(scaled, bias)


def _by_channel(x: Any, parameter: Any) -> Any:
    """A parameter of a channel each, so that it broadcasts over all axes behind the channels'."""
    return None if parameter is None else reshaped(parameter, (-1, *[1] * (len(shape_of(x)) - 2)))


def _trailing(x: Any, shape: Any) -> list[int]:
    rank = len(shape_of(x))
    return list(range(rank - len(shape), rank))


@decomposes("layer_norm")
def _layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:
    return _scaled(_standardized(input, _trailing(input, normalized_shape), eps), weight, bias)


@decomposes("rms_norm")
def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    axes = _trailing(input, normalized_shape)
    least = torch.finfo(input.node.meta["val"].dtype).eps if eps is None else eps
    power = aten.mean.dim(aten.mul.Tensor(input, input), axes, True)
    return _scaled(aten.mul.Tensor(input, aten.rsqrt.default(aten.add.Tensor(power, least))), weight, None)


@decomposes("group_norm")
def _group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    """A group of all channels, or one of each, needs no other shape; others are an axis of their own."""
    batch, channels, *image = shape = shape_of(input)
    behind = list(range(2, len(shape)))
    if num_groups == 1:
        standardized = _standardized(input, [1, *behind], eps)
    elif num_groups == channels and image:
        standardized = _standardized(input, behind, eps)
    else:
        groups = reshaped(input, (batch, num_groups, channels // num_groups, *([math.prod(image)] if image else [])))
        standardized = reshaped(_standardized(groups, list(range(2, len(shape_of(groups)))), eps), shape)
    return _scaled(standardized, _by_channel(input, weight), _by_channel(input, bias))


@decomposes("instance_norm")
def _instance_norm(
    input: Any,
    weight: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:
    """By its running statistics a factor and a summand of each channel; while it measures these it has no form."""
    if not use_input_stats:
        factor = aten.rsqrt.default(aten.add.Tensor(running_var, eps))
        factor = factor if weight is None else aten.mul.Tensor(factor, weight)
        less = aten.mul.Tensor(running_mean, factor)
        summand = aten.neg.default(less) if bias is None else aten.sub.Tensor(bias, less)
        return _scaled(input, _by_channel(input, factor), _by_channel(input, summand))
    if running_mean is not None or running_var is not None:
        return None
    axes = list(range(2, len(shape_of(input))))
    return _scaled(_standardized(input, axes, eps), _by_channel(input, weight), _by_channel(input, bias))
