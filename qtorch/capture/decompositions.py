"""Layers that the device has no kernel for, written as calls that it has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qtorch.capture.tracing import is_leaf
from qtorch.families.arithmetic import squared_difference

__all__ = ["decompose"]


class LayerNormalization(nn.Module):
    """``nn.LayerNorm`` in the ops that the device has; the parameters stay the same objects, with their names.

    MEAN, SQUARED_DIFFERENCE, MEAN, ADD (the epsilon), RSQRT, SUB, MUL, and MUL and ADD of weight and bias where there
    are some. Each intermediate has 8 bits of its own (16 are not to be had: RSQRT has no int16 kernel).
    Source: Ba et al. 2016 (arXiv:1607.06450).
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.axes = tuple(range(-len(norm.normalized_shape), 0))
        self.eps = norm.eps
        self.register_parameter("weight", norm.weight)
        self.register_parameter("bias", norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape whose last axes are the normalized ones."""
        mean = x.mean(self.axes, keepdim=True)
        variance = squared_difference(x, mean).mean(self.axes, keepdim=True)
        y = (x - mean) * torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias


def decompose(net: nn.Module) -> nn.Module:
    """``net`` itself, its layers replaced in place where the device needs several ops for one."""
    for name, child in net.named_children():
        if isinstance(child, nn.LayerNorm) and is_leaf(child):
            setattr(net, name, LayerNormalization(child))
        else:
            decompose(child)
    return net
