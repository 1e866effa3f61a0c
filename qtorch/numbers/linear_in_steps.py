"""A small linear layer in steps, in NumPy: of few numbers PyTorch's calls take longer than what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.numbers.sum_figures import LinearFigures

__all__ = ["is_small", "linear_in_steps"]

#: Of as many numbers PyTorch's calls, some of them on several cores, are no slower.
_MANY = 2**13


def is_small(x: Tensor, weight: Tensor) -> bool:
    """Whether a linear layer takes fewer moments in NumPy, which has one core."""
    return max(x.numel(), len(x) * len(weight), weight.numel()) <= _MANY


class _LinearInSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, figures: LinearFigures) -> Tensor:
        _, scale, codes, factor, inner, ratio, per_step, (low, high, *_) = figures
        steps = np.divide(weight.detach().numpy(), scale)
        np.rint(steps, out=steps)
        sums = np.matmul(x.numpy(), steps.T)
        sums += codes
        # As rescale does it, in fewer calls.
        products = np.multiply(sums, factor)
        products += np.copysign(inner, sums)
        products += 0.5
        # Before it is held, it says what has a gradient.
        whole = np.floor(products, out=sums)
        if ctx.needs_input_grad[0]:
            # Kept is nothing that the next step overwrites.
            steps *= scale
        ctx.save_for_backward(x)
        ctx.rounded, ctx.whole, ctx.figures = steps, whole, (ratio, per_step, low, high)
        held = np.minimum(whole, high)
        return torch.from_numpy(np.maximum(held, low, out=held))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        ratio, per_step, low, high = ctx.figures
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        # What saturates has no gradient, and what is no number is no end.
        stopped = ctx.whole < low
        stopped |= ctx.whole > high
        if grad.requires_grad:
            # Of this a gradient is to be taken, which NumPy's has not.
            kept = grad.masked_fill(torch.from_numpy(stopped), 0.0)
            return (
                kept @ torch.from_numpy(ctx.rounded) * ratio if of_x else None,
                kept.t() @ x * ratio if of_weight else None,
                kept.sum(0) * per_step if of_bias else None,
                None,
            )
        inside = np.where(stopped, np.float32(0), grad.numpy())
        # Of losses that are scaled up, infinite ones are nothing out of the ordinary.
        with np.errstate(all="ignore"):
            bias = torch.from_numpy(np.add.reduce(inside, 0) * np.float32(per_step)) if of_bias else None
            inside *= ratio
            return (
                torch.from_numpy(np.matmul(inside, ctx.rounded)) if of_x else None,
                torch.from_numpy(np.matmul(inside.T, x.numpy())) if of_weight else None,
                bias,
                None,
            )


def linear_in_steps(x: Tensor, weight: Tensor, bias: Tensor | None, figures: LinearFigures) -> Tensor:
    """Output steps, float32 ``[N, O]``; gradients straight through the roundings, and none where the output saturates.

    Args:
        x: steps, float32 ``[N, I]``, on a CPU.
        weight: real numbers, float32 ``[O, I]``, which its scale covers.
        bias: real numbers, float32 ``[O]``, or ``None``; for its gradient alone.
        figures: see the class; sums must be exact in float32, and for :func:`qtorch.numbers.rescaling.rescale`.
    """
    y: Tensor = _LinearInSteps.apply(x, weight, bias, figures)
    return y
