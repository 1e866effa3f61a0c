"""Multi-layer perceptrons with ReLU, initialized for small regression tasks."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from qtorch.errors import BadConfiguration

__all__ = ["perceptron", "spread_kinks"]


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these sizes with ReLU between them.

    Weights start orthogonal with gain sqrt(2) (Saxe et al. 2014, arXiv:1312.6120), biases at zero: in layers this
    narrow, independent random rows are dead together often enough to matter.

    Raises:
        BadConfiguration: a layer has no units.
    """
    if min(sizes) < 1:
        raise BadConfiguration(
            where="model.hidden",
            expected="at least one unit in every layer",
            got=f"{list(sizes[1:-1])}",
            remedy="try [16, 16]",
        )
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(linear.weight, math.sqrt(2))
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def spread_kinks(first: nn.Linear, low: float, high: float) -> None:
    """Place the kinks of a first layer with one input evenly over ``[low, high]``, slopes of both signs.

    Default initialization puts most kinks outside the data, where their units are dead or linear.
    """
    with torch.no_grad():
        kinks = torch.linspace(low, high, first.out_features + 2)[1:-1]
        slopes = torch.where(torch.arange(first.out_features) % 2 == 0, 1.0, -1.0) * 2 / (high - low)
        first.weight.copy_(slopes[:, None])
        first.bias.copy_(-slopes * kinks)
