"""Small linear layers in steps, a run of them as one function in NumPy.

Of few numbers PyTorch's calls, and autograd's from layer to layer, take longer than what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from qtorch.numbers.functional import hold_few, round_few_half_away_
from qtorch.numbers.straight_through import replace_value
from qtorch.numbers.sum_figures import LearnedFigures, LinearFigures

__all__ = ["LayerParameters", "RealEnds", "linears_in_steps"]

#: Arrays, because NumPy takes twice as long to look at a Python number.
_HALF, _NOTHING = np.array(0.5), np.zeros((), np.float32)
#: For as many samples as there may be.
_ONES = np.ones(2**13, np.float32)
#: Parameters of an input that is real: of its scale's logarithm and zero point; and of a layer: see LayerParameters.
_OF_INPUT, _OF_LAYER = 2, 5
_MEASURED = LearnedFigures()

#: Weight, bias, the logarithms of the weight's scale and of the output's, its zero point; ``None`` for what is none.
LayerParameters = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class RealEnds(NamedTuple):
    """Of a run that takes and gives real numbers.

    Attributes:
        source: the input's scale, float32 ``[]``, an array.
        low: its lowest step, likewise.
        high: its highest one.
        output: the output's scale, likewise.
        kind: see :class:`qtorch.numbers.straight_through.Learned`, of the input's scale; ``""`` where it is measured.
        share: likewise.
    """

    source: Any
    low: Any
    high: Any
    output: Any
    kind: str = ""
    share: float = 0.0


class _Held(NamedTuple):
    """What was rounded onto a grid, for its gradients.

    Attributes:
        steps: after it was held.
        whole: before.
        real: before it was rounded, where the scale is learned; else ``None``.
    """

    steps: Any
    whole: Any
    real: Any

    def inside(self, rectifies: bool) -> Any:
        """Where a gradient passes: what saturates has none. A fused ReLU's own ends at 0 where a scale is learned."""
        inside = self.steps == self.whole
        if rectifies and self.real is not None:
            inside &= self.real > _NOTHING
        return inside

    def of_grid(self, kind: str, share: float, grad: Any, inside: Any, needed: Sequence[bool]) -> tuple[Any, Any]:
        """Gradients of the scale's logarithm and of the zero point, as
        :func:`qtorch.numbers.straight_through.of_grid_in_one_piece` has them."""
        less, (of_scale, of_zero) = self.steps if kind == "pact" else self.real, needed
        return (
            share * (np.vdot(grad, self.steps) - np.vdot(inside, less)) if of_scale else None,
            -256 * share * (grad.sum() - inside.sum()) if of_zero else None,
        )

    def straight(self, real: Tensor, grid: Sequence[Tensor | None], kind: str, share: float, inside: Any) -> Tensor:
        """The steps with the gradients of ``real``, and of what is learned of the grid."""
        held, passes = torch.from_numpy(self.steps), torch.from_numpy(inside)
        y, (scale, zero) = torch.where(passes, real, torch.from_numpy(self.whole)), grid
        if scale is not None:
            less = held if kind == "pact" else torch.from_numpy(self.real)
            y = y + (scale - scale.detach()) * share * (held - torch.where(passes, less, 0.0))
        if zero is not None:
            y = y + (zero - zero.detach()) * (-256 * share) * ~passes
        return replace_value(y, held)


class _Weight(NamedTuple):
    """A weight as it was rounded.

    Attributes:
        rounded: real numbers.
        outside: where it saturates, if its scale is learned; else ``None``.
        error: what the rounding added, or all where it saturates, likewise.
    """

    rounded: Any
    outside: Any
    error: Any

    def straight(self, weight: Tensor, scale: Tensor | None, share: float) -> Tensor:
        """The same with the gradients of ``weight``, and of its scale's logarithm where that is learned."""
        rounded = torch.from_numpy(self.rounded)
        if scale is not None and self.error is not None:
            weight = torch.where(torch.from_numpy(self.outside), rounded, weight)
            weight = weight + ((scale - scale.detach()) * share).unsqueeze(1) * torch.from_numpy(self.error)
        return replace_value(weight, rounded)


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
                whole = np.divide(x.numpy(), reals.source)
            real = whole.copy() if reals.kind else None
            round_few_half_away_(whole)
            held = hold_few(whole, reals.low, reals.high)
            ctx.source = _Held(held, whole, real)
        ctx.first = held
        for _, weight, scale, codes, factor, inner, _, _, low, high, _, learned in figures:
            steps = np.divide(weight, scale)
            np.rint(steps, out=steps)
            outside = error = None
            if learned is not None and learned.limit is not None:
                whole, steps = steps, hold_few(steps, -learned.limit, learned.limit)
                outside = whole != steps
            sums = held.dot(steps.T)
            sums += codes
            # As rescale does it, in fewer calls.
            products = np.multiply(sums, factor)
            real = products.astype(np.float32) if learned is not None and learned.kind else None
            products += np.copysign(inner, sums)
            products += _HALF
            # Before it is held, it says what has a gradient.
            whole = np.floor(products, out=sums)
            # Kept is nothing that the next step overwrites.
            steps *= scale
            if outside is not None:
                error = np.where(outside, steps, steps - weight)
            before, held = held, np.minimum(whole, high)
            np.maximum(held, low, out=held)
            # No tuples with names: they take as long to make as a pass over few numbers.
            ctx.kept.append((before, (steps, outside, error), (held, whole, real)))
        return torch.from_numpy(held if reals is None else np.multiply(held, reals.output))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        reals = ctx.reals
        # An error where it was overwritten since.
        (x,) = ctx.saved_tensors if reals is None else (torch.from_numpy(ctx.first),)
        if torch.is_grad_enabled():
            return _differentiable(ctx, x, grad)
        of_x, _, _, *needed = ctx.needs_input_grad
        grads: list[Any] = [None] * len(needed)
        after = grad.numpy()
        # Of losses that are scaled up, infinite gradients are nothing out of the ordinary.
        with np.errstate(all="ignore"):
            if reals is not None:
                after = np.multiply(after, reals.output)
            further = of_x or any(needed[:_OF_INPUT])
            for index in reversed(range(len(ctx.kept))):
                (before, (rounded, outside, error), output), figures = ctx.kept[index], ctx.figures[index]
                place, learned = _OF_INPUT + _OF_LAYER * index, figures.learned
                of_weight, of_bias, of_scale, *of_output = needed[place : place + _OF_LAYER]
                if learned is None or not learned.kind:
                    held, whole, _ = output
                    # What saturates has no gradient.
                    inside = np.where(held == whole, after, _NOTHING)
                else:
                    result = _Held(*output)
                    inside = np.where(result.inside(learned.rectifies), after, _NOTHING)
                    of_grid = result.of_grid(learned.kind, learned.share, after, inside, of_output)
                    grads[place + 3 : place + _OF_LAYER] = of_grid
                inside *= figures.ratio
                if of_bias:
                    bias = _ONES[: len(inside)].dot(inside)
                    bias *= figures.per_unit
                    grads[place + 1] = bias
                if of_weight or of_scale:
                    change = inside.T.dot(before)
                    if learned is not None and of_scale:
                        grads[place + 2] = np.einsum("ij,ij->i", change, error) * learned.of_weight
                    if outside is not None:
                        change[outside] = 0
                    grads[place] = change if of_weight else None
                if index or further:
                    after = inside.dot(rounded)
            if reals is not None and reals.kind:
                inside = np.where(ctx.source.inside(False), after, _NOTHING)
                grads[:_OF_INPUT] = ctx.source.of_grid(reals.kind, reals.share, after, inside, needed[:_OF_INPUT])
        tensors = [
            None if each is None else torch.from_numpy(each if each.ndim else np.array(each, np.float32))
            for each in grads
        ]
        return torch.from_numpy(after) if of_x else None, None, None, *tensors


def _differentiable(ctx: Any, x: Tensor, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients where gradients are to be taken of them: by autograd over the same straight-through layers."""
    of_x, _, _, *needs = ctx.needs_input_grad
    with torch.enable_grad():
        y = x
        if ctx.reals is not None and ctx.reals.kind:
            held = ctx.source
            y = held.straight(x, ctx.parameters[:_OF_INPUT], ctx.reals.kind, ctx.reals.share, held.inside(False))
        for index, ((_, of_weight, of_output), figures) in enumerate(zip(ctx.kept, ctx.figures, strict=True)):
            rounded, output = _Weight(*of_weight), _Held(*of_output)
            place, learned = _OF_INPUT + _OF_LAYER * index, figures.learned or _MEASURED
            weight, bias, scale, *grid = ctx.parameters[place : place + _OF_LAYER]
            real = functional.linear(y, rounded.straight(weight, scale, learned.of_weight)) * float(figures.ratio)
            real = real if bias is None else real + bias * float(figures.ratio * figures.per_unit)
            inside = output.inside(learned.rectifies)
            y = output.straight(real, grid, learned.kind, learned.share, inside)
        y = y if ctx.reals is None else y * float(ctx.reals.output)
        tensors = [each for each, needed in zip((x, *ctx.parameters), (of_x, *needs), strict=True) if needed]
        grads = iter(torch.autograd.grad(y, tensors, grad, create_graph=True, allow_unused=True))
    found, *of_parameters = [next(grads) if needed else None for needed in (of_x, *needs)]
    return found, None, None, *of_parameters


def linears_in_steps(
    x: Tensor,
    parameters: Sequence[LayerParameters],
    figures: Sequence[LinearFigures],
    reals: RealEnds | None = None,
    source: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Tensor:
    """Output steps, float32 ``[N, O]``, of layers in a row; gradients straight through the roundings, and none where an
    output saturates.

    Args:
        x: steps, float32 ``[N, I]``, on a CPU.
        parameters: of each layer, weights float32 ``[O, I]``; for their gradients alone.
        figures: of each layer; sums must be exact in float32, and for :func:`qtorch.numbers.rescaling.rescale`. There
            are no more samples than any says.
        reals: where ``x``, without gradient, and the outputs are real numbers.
        source: then, of the input's grid, the logarithm of its scale and its zero point, where those are learned.
    """
    y: Tensor = _LinearsInSteps.apply(x, figures, reals, *source, *chain.from_iterable(parameters))
    return y
