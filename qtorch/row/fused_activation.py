"""The activation that a kernel applies to its own output: in float for training, as code limits on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from qtorch.numbers.functional import round_half_away
from qtorch.numbers.grid import Grid
from qtorch.numbers.straight_through import Ends

__all__ = ["FUSED_ACTIVATIONS", "SMALLEST_RELU6_SCALE", "activate", "activation_limits", "step_ends"]

#: Values of a row's ``activation`` attribute besides ``"none"``: they are rows' names too.
FUSED_ACTIVATIONS = frozenset({"relu", "relu6"})

#: Below it the code of 6 leaves int32: the fused kernels refuse it, the one on its own computes nonsense.
SMALLEST_RELU6_SCALE = 6 / 2**31


def activate(activation: str, x: Tensor) -> Tensor:
    """float32 of any shape; ``activation`` is ``"none"``, ``"relu"`` or ``"relu6"``."""
    if activation == "relu":
        return F.relu(x)
    return F.relu6(x) if activation == "relu6" else x


def activation_limits(activation: str, grid: Grid) -> tuple[int, int]:
    """Lowest and highest output code.

    Source: TFLM ``kernels/kernel_util.cc``, ``CalculateActivationRangeQuantized``: bounds divided by the scale in
    float32 and rounded half away from zero.
    """
    low, high = grid.limits
    # Before the zero point is read: on a GPU a step would wait for it.
    if activation not in FUSED_ACTIVATIONS:
        return low, high
    zero_point = int(grid.zero_point)
    low = max(low, zero_point)
    if activation == "relu6":
        steps = round_half_away(torch.tensor(6.0) / grid.scale.to(torch.float32))
        # A scale below 6 / 2**31 would overflow the kernel's int32; the codes' own limit is the bound long before.
        high = min(high, zero_point + int(steps.clamp(max=2.0**30)))
    return low, high


def step_ends(activation: str, grid: Grid) -> Ends:
    """:func:`activation_limits` less the zero point, as float32 tensors ``[]``: no number is read from their device."""
    zero_point = grid.zero_point.to(torch.float32)
    low, high = (limit - zero_point for limit in grid.limits)
    if activation not in FUSED_ACTIVATIONS:
        return Ends(low, high)
    if activation != "relu6":
        return Ends(low.clamp_min(0.0), high, True)
    # Of two tensors: a number in front would be multiplied by the reciprocal.
    six = round_half_away(torch.div(torch.full_like(grid.scale, 6.0), grid.scale)).clamp(max=2.0**30)
    return Ends(low.clamp_min(0.0), torch.minimum(high, six), True, six < high)
