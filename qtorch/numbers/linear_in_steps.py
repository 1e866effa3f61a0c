"""A linear layer in steps as one function: of small layers the calls between its parts take longer than the parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from qtorch.numbers.straight_through import hardtanh_backward, replace_value
from qtorch.numbers.sum_figures import LinearFigures

__all__ = ["linear_in_steps"]

#: What is multiplied by 0 in a product that is scaled.
_NOTHING = torch.zeros(1, dtype=torch.float32, device="cpu")


class _LinearInSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, figures: LinearFigures) -> Tensor:
        (_, codes, factor, inner), scale, ratio, per_step, (low, high, *_) = figures
        steps = torch.div(weight, scale).round_()
        sums = functional.linear(x, steps, codes)
        # As rescale does it, in fewer calls. Before it is held, it says what has a gradient.
        whole = torch.addcmul(torch.copysign(inner, sums), sums, factor).add_(0.5).floor_().to(torch.float32)
        # Saved is nothing that the next step overwrites.
        ctx.save_for_backward(x, steps.mul_(scale) if ctx.needs_input_grad[0] else None, whole)
        # Not saved: its numbers are not read, so that they may have been written to.
        ctx.weight = weight
        ctx.ratio, ctx.per_step, ctx.ends = ratio, per_step, (low - 0.5, high + 0.5)
        return whole.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, rounded, whole = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        if of_x and torch.is_grad_enabled():
            # The gradient has one too, which is the weight's.
            rounded = replace_value(ctx.weight, rounded)
        # What saturates has no gradient.
        grad = hardtanh_backward(grad, whole, *ctx.ends)
        return (
            torch.addmm(_NOTHING, grad, rounded, beta=0, alpha=ctx.ratio) if of_x else None,
            torch.addmm(_NOTHING, grad.t(), x, beta=0, alpha=ctx.ratio) if of_weight else None,
            grad.sum(0).mul_(ctx.per_step) if of_bias else None,
            None,
        )


def linear_in_steps(x: Tensor, weight: Tensor, bias: Tensor | None, figures: LinearFigures) -> Tensor:
    """Output steps, float32 ``[N, O]``; gradients straight through the roundings, and none where the output saturates.

    Args:
        x: steps, float32 ``[N, I]``.
        weight: real numbers, float32 ``[O, I]``, which its scale covers.
        bias: real numbers, float32 ``[O]``, or ``None``; for its gradient alone.
        figures: see the class; sums must be exact in float32, and for :func:`qtorch.numbers.rescaling.rescale`.
    """
    y: Tensor = _LinearInSteps.apply(x, weight, bias, figures)
    return y
