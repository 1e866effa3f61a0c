"""A linear layer in steps as one function: of small layers the calls between its parts take longer than the parts."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from qtorch.numbers.functional import whole_steps_straight_
from qtorch.numbers.rescaling import on_grid
from qtorch.numbers.straight_through import Ends

__all__ = ["SharedFigures", "linear_in_steps"]


class SharedFigures(NamedTuple):
    """What a layer's sums are made with and rescaled by, ``[C]``; in memory that the next step overwrites.

    Attributes:
        scale: of the weight, float32.
        column: the same as a column, ``[C, 1]``.
        bias: whole numbers in units of the sums, float32; 0 without a bias.
        factor: from sums to the output's steps as the device has it, float64.
        nudge: what is added to round, float64: ``inner`` of :class:`qtorch.numbers.rescaling.Rescaling`, or its
            ``offset`` where nothing below 0 matters.
        ratio: the input's scale by the output's.
        per_step: how many steps of the output a unit is.
        ends: of the output, as numbers.
    """

    scale: Tensor
    column: Tensor
    bias: Tensor
    factor: Tensor
    nudge: Tensor
    ratio: float
    per_step: float
    ends: Ends


class _LinearInSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, figures: SharedFigures) -> Tensor:
        _, scale, codes, factor, nudge, ratio, per_step, (low, high, *_) = figures
        steps = whole_steps_straight_(torch.div(weight, scale))
        sums = torch.addmm(codes, x, steps.t())
        # As rescale does it; what sums become says what has a gradient.
        whole = torch.mul(sums, factor)
        whole.add_(torch.copysign(nudge, whole))
        if low >= 0:
            sums.copy_(whole)
            whole.floor_()
        else:
            sums.copy_(whole.add_(0.5).floor_())
        # Saved is nothing that the next step overwrites.
        ctx.save_for_backward(x, steps.mul_(scale) if ctx.needs_input_grad[0] else None, sums)
        ctx.ratio, ctx.per_step, ctx.ends = ratio, per_step, on_grid(low, high, low >= 0)
        return whole.clamp_(low, high).to(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rounded, judged = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        # What saturates has no gradient.
        grad = torch.ops.aten.hardtanh_backward(grad, judged, *ctx.ends)
        return (
            torch.mm(grad, rounded).mul_(ctx.ratio) if of_x else None,
            torch.mm(grad.t(), x).mul_(ctx.ratio) if of_weight else None,
            grad.sum(0).mul_(ctx.per_step) if of_bias else None,
            None,
        )


def linear_in_steps(x: Tensor, weight: Tensor, bias: Tensor | None, figures: SharedFigures) -> Tensor:
    """Output steps, float32 ``[N, O]``; gradients straight through the roundings, and none where the output saturates.

    Args:
        x: steps, float32 ``[N, I]``.
        weight: real numbers, float32 ``[O, I]``, which its scale covers.
        bias: real numbers, float32 ``[O]``, or ``None``; for its gradient alone.
        figures: see the class; sums must be exact in float32, and for :func:`qtorch.numbers.rescaling.rescale`.
    """
    y: Tensor = _LinearInSteps.apply(x, weight, bias, figures)
    return y
