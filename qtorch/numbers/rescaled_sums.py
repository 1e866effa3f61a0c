"""Sums of products brought onto a grid as the device does it, with a gradient that passes straight through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from qtorch.numbers.rescaling import Rescaling, rescale, rescale_any
from qtorch.numbers.straight_through import (
    Ends,
    Estimator,
    Learned,
    Rule,
    gradients,
    hardtanh_backward,
    in_one_piece,
    of_grid_in_one_piece,
)

__all__ = ["rescale_and_hold"]

#: Elements that are rescaled at a time on a CPU: what float64 makes of them stays in its cache; and elsewhere.
_CHUNK, _LARGE_CHUNK = 2**15, 2**24

#: Of a number that must not be within any bounds, by how many steps for each that it is beyond the grid.
_FAR = 2.0**20

_CLIPPED = Rule("clipped")
_FACTORS = len(Rescaling._fields)


class _Rescaled(torch.autograd.Function):
    """With any gradient, and of any sums."""

    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        log_scale: Tensor | None,
        zero: Tensor | None,
        share: Any,
        rule: Rule,
        any_sum: bool,
        *figures: Any,
    ) -> Tensor:
        factors, ends = Rescaling(*figures[:_FACTORS]), Ends(*figures[_FACTORS:])
        whole = (rescale_any if any_sum else rescale)(sums.to(torch.float64), factors)
        whole = whole.to(torch.float32)
        real = (sums * factors.factor).to(torch.float32) if rule.needs_real else None
        ctx.rule, ctx.share, ctx.ends = rule, share, ends
        ctx.save_for_backward(real, whole, factors.factor32, *ends.tensors)
        return whole.clamp(ends.low, ends.high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        real, whole, factor, *ends = ctx.saved_tensors
        of_real, *of_grid = gradients(ctx, grad, real, whole, ctx.ends.with_tensors(ends))
        return of_real * factor, *of_grid, *[None] * (3 + _FACTORS + len(Ends._fields))


class _RescaledInChunks(torch.autograd.Function):
    """In place, as many samples at a time as a cache holds in float64, with the clipped gradient or a learned scale's.

    What float32 sums are, small ones that are held at ends which are numbers and, where a scale is learned, the grid's
    own or a rectifier's: then the ends of a rectifier's have no gradient of the scale, being 0.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        log_scale: Tensor | None,
        zero: Tensor | None,
        share: Any,
        rule: Rule,
        ends: Ends,
        *rescaling: Tensor,
    ) -> Tensor:
        factors = Rescaling(*rescaling)
        held = torch.empty_like(sums)
        samples = max(1, (_CHUNK if sums.is_cpu else _LARGE_CHUNK) * len(sums) // max(1, sums.numel()))
        double = torch.empty_like(sums[:samples], dtype=torch.float64)
        for start in range(0, len(sums), samples):
            part = sums[start : start + samples]
            # Overwritten behind autograd's back: what made the sums has not kept them.
            whole = rescale(double[: len(part)].copy_(part), factors, out=double[: len(part)])
            result = held[start : start + samples]
            if rule.learned:
                torch.clamp(result.copy_(whole), ends.low, ends.high, out=result)
                # What is beyond the grid after the device's two roundings, goes far beyond it.
                part.mul_(factors.factor32).add_(whole.sub_(result), alpha=_FAR)
            else:
                torch.clamp(part.copy_(whole), ends.low, ends.high, out=result)
        ctx.save_for_backward(sums, factors.factor32, held if rule.learned else None)
        ctx.ends = ends.low - 0.5, ends.high + 0.5
        if rule.learned:
            # Of the others none is a whole step away. A fused ReLU's own gradient is taken, which ends at 0.
            ctx.ends = 0.0 if ends.rectifies else ends.low - 1.0, ends.high + 1.0
        ctx.rule, ctx.share = rule, share
        return held

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        real, factor, held = ctx.saved_tensors
        inside = hardtanh_backward(grad, real, *ctx.ends)
        of_grid = (None, None) if held is None else of_grid_in_one_piece(ctx, grad, inside, real, held)
        return inside.mul_(factor), *of_grid, *[None] * (3 + _FACTORS)


def _rescaled_by_calls(sums: Tensor, rescaling: Rescaling, ends: Ends) -> Tensor:
    """:func:`rescale_and_hold` of few numbers, of which a call into Python in the backward pass would take longer."""
    products = torch.mul(sums, rescaling.factor32)
    # Behind autograd's back, to which they remain a product between bounds. What rounds to an end has a gradient yet.
    products.detach().copy_(rescale(sums.detach(), rescaling))
    held = functional.hardtanh(products, ends.low - 0.5, ends.high + 0.5)
    held.detach().clamp_(ends.low, ends.high)
    return held


def rescale_and_hold(
    sums: Tensor,
    rescaling: Rescaling,
    ends: Ends,
    estimator: Estimator = "clipped",
    learned: Learned | None = None,
    *,
    any_sum: bool = False,
) -> Tensor:
    """Sums of products brought onto the output's grid as the device does, in steps; gradients as
    :func:`round_and_hold`'s, times the real factor.

    Args:
        sums: whole numbers, float32 or float64; float32 ones may be overwritten.
        rescaling: from sums to the output's steps; broadcasts to ``sums``.
        ends: of the output, a fused activation's included.
        estimator: see :func:`round_and_hold`.
        learned: likewise.
        any_sum: whether ``sums`` may be larger than :func:`qtorch.numbers.rescaling.is_exact` allows.
    """
    kind, log_scale, share, zero, axis = learned or ("", None, 0.0, None, None)
    rule = Rule(estimator, kind, axis)
    plain = not (any_sum or ends.moving or is_compiling()) and sums.dtype is torch.float32
    if plain and rule == _CLIPPED and sums.numel() <= _CHUNK:
        return _rescaled_by_calls(sums, rescaling, ends)
    y: Tensor
    if plain and (rule == _CLIPPED or in_one_piece(rule, zero is not None, ends)):
        y = _RescaledInChunks.apply(sums, log_scale, zero, share, rule, ends, *rescaling)
    else:
        y = _Rescaled.apply(sums, log_scale, zero, share, rule, any_sum, *rescaling, *ends)
    return y
