"""Small linear layers in steps, a run of them as one function in NumPy.

Of few numbers PyTorch's calls, and autograd's from layer to layer, take longer than what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qtorch.numbers.straight_through import replace_value
from qtorch.numbers.sum_figures import LinearFigures

__all__ = ["are_small", "linears_in_steps"]

#: Of as many numbers PyTorch's calls, some of them on several cores, are no slower.
_MANY = 2**13


def are_small(x: Tensor, parameters: Sequence[Tensor | None]) -> bool:
    """Whether layers, as :func:`linears_in_steps` takes them, take less time in NumPy, which has one core."""
    weights = [each for each in parameters[::2] if each is not None]
    return all(max(len(x) * max(each.shape), each.numel()) <= _MANY for each in weights)


class _LinearsInSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, figures: Sequence[LinearFigures], *parameters: Tensor | None) -> Tensor:
        ctx.figures, ctx.kept = figures, []
        ctx.save_for_backward(x)
        # Of these nothing is computed but what has their gradient: they may be written to.
        ctx.parameters = parameters
        held = x.numpy()
        for (_, scale, codes, factor, inner, _, _, (low, high, *_)), weight in zip(
            figures, parameters[::2], strict=True
        ):
            assert weight is not None
            steps = np.divide(weight.detach().numpy(), scale)
            np.rint(steps, out=steps)
            sums = np.matmul(held, steps.T)
            sums += codes
            # As rescale does it, in fewer calls.
            products = np.multiply(sums, factor)
            products += np.copysign(inner, sums)
            products += 0.5
            # Before it is held, it says what has a gradient.
            whole = np.floor(products, out=sums)
            # Kept is nothing that the next step overwrites.
            steps *= scale
            ctx.kept.append((held, steps, whole))
            held = np.minimum(whole, high)
            np.maximum(held, low, out=held)
        return torch.from_numpy(held)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # An error where it was overwritten since.
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx, [x, *ctx.parameters], grad)
        of_x, _, *of_parameters = ctx.needs_input_grad
        grads: list[Tensor | None] = []
        after = grad.numpy()
        # Of losses that are scaled up, infinite gradients are nothing out of the ordinary.
        with np.errstate(all="ignore"):
            for index in reversed(range(len(ctx.kept))):
                (held, rounded, whole), figures = ctx.kept[index], ctx.figures[index]
                of_weight, of_bias = of_parameters[2 * index : 2 * index + 2]
                # What saturates has no gradient.
                inside = np.where(_stopped(whole, figures), np.float32(0), after)
                bias = np.add.reduce(inside, 0) * np.float32(figures.per_step) if of_bias else None
                inside *= figures.ratio
                weight = np.matmul(inside.T, held) if of_weight else None
                if index or of_x:
                    after = np.matmul(inside, rounded)
                grads += [None if each is None else torch.from_numpy(each) for each in (bias, weight)]
        return torch.from_numpy(after) if of_x else None, None, *reversed(grads)


def _stopped(whole: Any, figures: LinearFigures) -> Any:
    """Which results, not held yet, are beyond the grid; what is no number is not."""
    stopped = whole < figures.ends.low
    stopped |= whole > figures.ends.high
    return stopped


def _differentiable(ctx: Any, tensors: Sequence[Tensor | None], grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients where gradients are to be taken of them: by autograd over the same straight-through layers."""
    with torch.enable_grad():
        x, *parameters = tensors
        y = x
        for (_, rounded, whole), figures, weight, bias in zip(
            ctx.kept, ctx.figures, parameters[::2], parameters[1::2], strict=True
        ):
            assert y is not None
            assert weight is not None
            real = functional.linear(y, replace_value(weight, torch.from_numpy(rounded))) * figures.ratio
            real = real if bias is None else real + bias * figures.per_step
            steps = torch.from_numpy(whole)
            real = torch.where(torch.from_numpy(_stopped(whole, figures)), steps, real)
            y = replace_value(real, steps.clamp(figures.ends.low, figures.ends.high))
        assert y is not None
        needed = [each for each, needs in zip(tensors, _without_figures(ctx.needs_input_grad), strict=True) if needs]
        grads = iter(torch.autograd.grad(y, needed, grad, create_graph=True, allow_unused=True))  # type: ignore[arg-type]
    of_x, *of_parameters = [next(grads) if needs else None for needs in _without_figures(ctx.needs_input_grad)]
    return of_x, None, *of_parameters


def _without_figures(needs: Sequence[bool]) -> list[bool]:
    return [needs[0], *needs[2:]]


def linears_in_steps(x: Tensor, parameters: Sequence[Tensor | None], figures: Sequence[LinearFigures]) -> Tensor:
    """Output steps, float32 ``[N, O]``, of layers in a row; gradients straight through the roundings, and none where an
    output saturates.

    Args:
        x: steps, float32 ``[N, I]``, on a CPU.
        parameters: of each layer the weight, real numbers, float32 ``[O, I]``, which its scale covers, and the bias,
            real numbers, float32 ``[O]``, or ``None``; the bias for its gradient alone.
        figures: of each layer; sums must be exact in float32, and for :func:`qtorch.numbers.rescaling.rescale`.
    """
    y: Tensor = _LinearsInSteps.apply(x, figures, *parameters)
    return y
