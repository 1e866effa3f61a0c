"""Small linear layers in steps, a run of them as one function in NumPy.

Of few numbers PyTorch's calls, and autograd's from layer to layer, take longer than what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qtorch.numbers.functional import round_few_half_away_
from qtorch.numbers.straight_through import replace_value
from qtorch.numbers.sum_figures import LinearFigures

__all__ = ["RealEnds", "linears_in_steps"]

#: Arrays, because NumPy takes twice as long to look at a Python number.
_HALF, _NOTHING = np.array(0.5), np.zeros((), np.float32)
#: For as many samples as there may be.
_ONES = np.ones(2**13, np.float32)


class RealEnds(NamedTuple):
    """Of a run that takes and gives real numbers.

    Attributes:
        source: the input's scale, float32 ``[]``, an array.
        low: its lowest step, likewise.
        high: its highest one.
        output: the output's scale, likewise.
    """

    source: Any
    low: Any
    high: Any
    output: Any


class _LinearsInSteps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, figures: Sequence[LinearFigures], reals: RealEnds | None, *parameters: Tensor | None
    ) -> Tensor:
        ctx.figures, ctx.reals, ctx.kept = figures, reals, []
        # Of these nothing is computed but what has their gradient: they may be written to.
        ctx.parameters = parameters
        if reals is None:
            ctx.save_for_backward(x)
            held = x.numpy()
        else:
            with np.errstate(over="ignore"):  # infinite steps end where others beyond the ends do
                held = np.divide(x.numpy(), reals.source)
            round_few_half_away_(held, reals.low, reals.high)
        ctx.first = held
        for _, weight, scale, codes, factor, inner, _, _, low, high, _ in figures:
            steps = np.divide(weight, scale)
            np.rint(steps, out=steps)
            sums = held.dot(steps.T)
            sums += codes
            # As rescale does it, in fewer calls.
            products = np.multiply(sums, factor)
            products += np.copysign(inner, sums)
            products += _HALF
            # Before it is held, it says what has a gradient.
            whole = np.floor(products, out=sums)
            # Kept is nothing that the next step overwrites.
            steps *= scale
            before, held = held, np.minimum(whole, high)
            np.maximum(held, low, out=held)
            ctx.kept.append((before, steps, whole, held))
        return torch.from_numpy(held if reals is None else np.multiply(held, reals.output))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        reals = ctx.reals
        # An error where it was overwritten since.
        (x,) = ctx.saved_tensors if reals is None else (torch.from_numpy(ctx.first),)
        if torch.is_grad_enabled():
            return _differentiable(ctx, [x, *ctx.parameters], grad)
        of_x, _, _, *of_parameters = ctx.needs_input_grad
        grads: list[Tensor | None] = []
        after = grad.numpy()
        # Of losses that are scaled up, infinite gradients are nothing out of the ordinary.
        with np.errstate(all="ignore"):
            if reals is not None:
                after = np.multiply(after, reals.output)
            for index in reversed(range(len(ctx.kept))):
                (before, rounded, whole, held), figures = ctx.kept[index], ctx.figures[index]
                of_weight, of_bias = of_parameters[2 * index : 2 * index + 2]
                # What saturates has no gradient.
                inside = np.where(held == whole, after, _NOTHING)
                inside *= figures.ratio
                bias = weight = None
                if of_bias:
                    bias = _ONES[: len(inside)].dot(inside)
                    bias *= figures.per_unit
                if of_weight:
                    weight = inside.T.dot(before)
                if index or of_x:
                    after = inside.dot(rounded)
                grads += [None if each is None else torch.from_numpy(each) for each in (bias, weight)]
        return torch.from_numpy(after) if of_x else None, None, None, *reversed(grads)


def _differentiable(ctx: Any, tensors: Sequence[Tensor | None], grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients where gradients are to be taken of them: by autograd over the same straight-through layers."""
    with torch.enable_grad():
        x, *parameters = tensors
        y = x
        for (_, rounded, whole, held), figures, weight, bias in zip(
            ctx.kept, ctx.figures, parameters[::2], parameters[1::2], strict=True
        ):
            assert y is not None
            assert weight is not None
            real = functional.linear(y, replace_value(weight, torch.from_numpy(rounded))) * float(figures.ratio)
            real = real if bias is None else real + bias * float(figures.ratio * figures.per_unit)
            steps, held = torch.from_numpy(whole), torch.from_numpy(held)
            y = replace_value(torch.where(held == steps, real, steps), held)
        assert y is not None
        y = y if ctx.reals is None else y * float(ctx.reals.output)
        needed = [each for each, needs in zip(tensors, _of_tensors(ctx.needs_input_grad), strict=True) if needs]
        grads = iter(torch.autograd.grad(y, needed, grad, create_graph=True, allow_unused=True))  # type: ignore[arg-type]
    of_x, *of_parameters = [next(grads) if needs else None for needs in _of_tensors(ctx.needs_input_grad)]
    return of_x, None, None, *of_parameters


def _of_tensors(needs: Sequence[bool]) -> list[bool]:
    """Of what :class:`_LinearsInSteps` takes, without figures and ends."""
    return [needs[0], *needs[3:]]


def linears_in_steps(
    x: Tensor, parameters: Sequence[Tensor | None], figures: Sequence[LinearFigures], reals: RealEnds | None = None
) -> Tensor:
    """Output steps, float32 ``[N, O]``, of layers in a row; gradients straight through the roundings, and none where an
    output saturates.

    Args:
        x: steps, float32 ``[N, I]``, on a CPU.
        parameters: of each layer the weight, float32 ``[O, I]``, and the bias, float32 ``[O]``, or ``None``; for their
            gradients alone.
        figures: of each layer; sums must be exact in float32, and for :func:`qtorch.numbers.rescaling.rescale`. There
            are no more samples than any says.
        reals: where ``x``, without gradient, and the outputs are real numbers.
    """
    y: Tensor = _LinearsInSteps.apply(x, figures, reals, *parameters)
    return y
