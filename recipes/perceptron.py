"""Multi-layer perceptrons with ReLU, initialized for small regression tasks."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["perceptron", "spread_kinks"]


def perceptron(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers of these sizes with ReLU between them, He-initialized (He et al. 2015), biases zero."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes, sizes[1:], strict=False):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
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
