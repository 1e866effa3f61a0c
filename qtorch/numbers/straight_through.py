"""Functions that round in the forward pass and hand gradients through in the backward pass.

Rounding has a gradient of zero almost everywhere; a straight-through estimator puts another in its place. Which one,
and where it comes from, is said at each function. What comes out are **steps**: whole numbers, float32, by how many
steps of its grid a value lies from zero, which is code less zero point.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional

from qtorch.numbers.functional import round_half_away, whole_steps
from qtorch.numbers.rescaling import Rescaling, rescale, rescale_any

__all__ = [
    "Ends",
    "Estimator",
    "Learned",
    "lsq_gradient_scale",
    "replace_value",
    "rescale_and_hold",
    "round_and_hold",
    "round_ste",
    "scale_gradient",
]

#: Which gradient :func:`round_and_hold` has.
Estimator = Literal["clipped", "plain", "ewgs"]

#: How strongly EWGS scales gradients; the paper's value where none is derived from the Hessian.
EWGS_DELTA = 1e-3

#: Elements that are rescaled at a time: what float64 makes of them stays in a processor's cache.
_CHUNK = 2**15


class Ends(NamedTuple):
    """The lowest and highest step of a grid, numbers or float32 ``[]``.

    ``fused`` says that a fused activation set them, whose gradient beyond them is zero whatever the estimator.
    """

    low: Any
    high: Any
    fused: bool = False

    @property
    def rectified(self) -> bool:
        """Whether nothing below 0 is on the grid; of ends that are tensors only what a fused activation says."""
        return self.fused if isinstance(self.low, Tensor) else self.low >= 0

    @property
    def moving(self) -> bool:
        """Whether they are tensors, whose numbers are not read."""
        return isinstance(self.low, Tensor)


class Learned(NamedTuple):
    """What of a grid is learned: the scale, float32 ``[]`` or ``[C]``; the zero point as a real number, float32 ``[]``.

    ``kind`` is ``"lsq"``, ``"lsq+"`` or ``"pact"``.
    """

    kind: str
    scale: Tensor
    zero: Tensor | None = None
    axis: int | None = None


def round_ste(x: Tensor) -> Tensor:
    """Round half away from zero; the gradient passes straight through (Bengio et al. 2013, arXiv:1308.3432)."""
    return replace_value(x, round_half_away(x.detach()))


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """``x``, with a gradient that is multiplied by ``factor`` (Esser et al. 2020, arXiv:1902.08153)."""
    y: Tensor = _ScaleGradient.apply(x, factor)
    return y


def replace_value(x: Tensor, value: Tensor) -> Tensor:
    """``value`` in the forward pass, ``x``'s gradient in the backward pass."""
    y = x.clone()
    y.detach().copy_(value)
    return y


def lsq_gradient_scale(elements: int, high: float) -> float:
    """``1 / sqrt(elements * high)``: what LSQ multiplies a scale's gradient by.

    Args:
        elements: of the weight, or of one sample's activation.
        high: highest code minus zero point.

    Source: Esser et al. 2020, arXiv:1902.08153, section 2.2.
    """
    return float(max(elements, 1) * max(high, 1)) ** -0.5


class _Rule(NamedTuple):
    """Which gradient numbers that are rounded and held have."""

    estimator: Estimator
    #: ``""`` where the scale is not learned.
    learned: str = ""
    #: Along which there is a learned scale each.
    axis: int | None = None

    @property
    def needs_real(self) -> bool:
        """Whether it depends on the numbers before they were rounded."""
        return bool(self.learned) or self.estimator == "ewgs"


_CLIPPED = _Rule("clipped")


def _rule(ends: Ends, estimator: Estimator, kind: str, axis: int | None) -> _Rule:
    return _Rule("clipped" if estimator == "plain" and ends.fused else estimator, kind, axis)


def _keep(
    ctx: Any,
    whole: Tensor,
    held: Tensor,
    real: Tensor | None,
    factor: Tensor | None,
    rule: _Rule,
    scale: Tensor | None,
) -> None:
    """Save what :func:`_gradients` needs of numbers that were rounded and then held."""
    ctx.rule = rule
    outside = None if rule == ("plain", "", None) else torch.ne(whole, held)
    missed = by_scale = None
    if rule.learned:
        assert real is not None
        assert outside is not None
        # Where nothing saturates, the scale's gradient is the rounding error, else the end.
        # PACT leaves the rounding error out and has no gradient at the lower end, which is zero.
        pact = rule.learned == "pact"
        by_scale = torch.where(outside, held.clamp_min(0) if pact else held, 0 if pact else held - real)
    elif rule.estimator == "ewgs":
        assert real is not None
        missed = real - whole
    ctx.save_for_backward(outside, missed, by_scale, factor, scale)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of what was rounded, of the scale and of the zero point."""
    outside, missed, by_scale, factor, scale = ctx.saved_tensors
    of_scale = of_zero = None
    if by_scale is not None and ctx.needs_input_grad[1]:
        of_scale = _reduced(grad * by_scale, scale, ctx.rule.axis) / scale
    if ctx.needs_input_grad[2]:
        of_zero = -(grad * outside).sum()
    if missed is not None:
        grad = grad * (1 + EWGS_DELTA * torch.sign(grad) * missed)
    if outside is not None:
        grad = grad.masked_fill(outside, 0.0)
    if factor is not None:
        grad = grad * factor
    return grad, of_scale, of_zero


def _reduced(values: Tensor, like: Tensor, axis: int | None) -> Tensor:
    if like.dim() == 0 or axis is None:
        return values.sum().reshape(like.shape)
    return values.movedim(axis, 0).flatten(1).sum(1)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, real: Tensor, scale: Tensor | None, zero: Tensor | None, low: Any, high: Any, rule: _Rule, even: bool
    ) -> Tensor:
        whole = whole_steps(real) if even else round_half_away(real)
        held = whole.clamp(low, high)
        _keep(ctx, whole, held, real if rule.needs_real else None, None, rule, scale)
        return held

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *_gradients(ctx, grad), None, None, None, None


def round_and_hold(
    real: Tensor, ends: Ends, estimator: Estimator = "clipped", learned: Learned | None = None, *, even: bool = False
) -> Tensor:
    """Numbers in steps, rounded to whole ones and held between ``ends``; float32.

    With ``v`` a number, ``y = clamp(round(v), low, high)``. ``y`` is in steps of a scale; the gradient of that scale is
    the one that it has through all that ``scale * y`` goes into:

    ====================  ============  ======================  =================
    where                 of v          of scale                of the zero point
    ====================  ============  ======================  =================
    within the ends       1             ``round(v) - v``        0
    below, above          0             ``low``, ``high``       -1
    ====================  ============  ======================  =================

    Args:
        real: float32, any shape.
        ends: of the grid.
        estimator: the gradient where nothing is learned. ``"clipped"`` is 1 where a number is representable and 0 where
            it saturates (Jacob et al. 2018, arXiv:1712.05877); ``"plain"`` is 1 everywhere (Bengio et al. 2013,
            arXiv:1308.3432); ``"ewgs"`` is the clipped one times ``1 + delta * sign(g) * (v - round(v))`` (element-wise
            gradient scaling, Lee et al. 2021, arXiv:2104.00903).
        learned: what of the grid is learned. PACT takes 0 instead of ``round(v) - v``, and of the ends the upper alone.
        even: ties go to even numbers, as constants' do, instead of away from zero.

    Source: LSQ, Esser et al. 2020 (arXiv:1902.08153), equation 3; LSQ+, Bhalgat et al. 2020 (arXiv:2004.09576), section
    3.1, with the offset as a zero point; PACT, Choi et al. 2018 (arXiv:1805.06085), section 3.
    """
    if not real.requires_grad and learned is None:
        return (whole_steps(real) if even else round_half_away(real)).clamp_(ends.low, ends.high)
    kind, scale, zero, axis = learned or ("", None, None, None)
    y: Tensor = _Rounded.apply(real, scale, zero, ends.low, ends.high, _rule(ends, estimator, kind, axis), even)
    return y


class _Rescaled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        scale: Tensor | None,
        zero: Tensor | None,
        low: Any,
        high: Any,
        rule: _Rule,
        rectified: bool,
        any_sum: bool,
        *rescaling: Tensor,
    ) -> Tensor:
        factors = Rescaling(*rescaling)
        if not any_sum and not rule.needs_real and sums.dtype is torch.float32:
            if sums.numel() > _CHUNK and sums.dim() > 1 and not is_compiling():
                return _Rescaled._in_chunks(ctx, sums, low, high, rule, rectified, factors)
            whole, real = rescale(sums, factors, rectified), None
        else:
            sums64 = sums.to(torch.float64)
            real = sums64 * factors.factor
            whole = rescale_any(sums64, factors, rectified) if any_sum else rescale(sums64, factors, rectified)
        held = whole.clamp(low, high)
        real = real.to(torch.float32) if real is not None and rule.needs_real else None
        _keep(ctx, whole, held, real, factors.factor32, rule, scale)
        return held.to(torch.float32)

    @staticmethod
    def _in_chunks(
        ctx: Any, sums: Tensor, low: Any, high: Any, rule: _Rule, rectified: bool, factors: Rescaling
    ) -> Tensor:
        """In place, and as many samples at a time as a cache holds in float64."""
        clipped = rule.estimator != "plain"
        outside = torch.empty_like(sums, dtype=torch.bool) if clipped else None
        samples = max(1, _CHUNK * len(sums) // sums.numel())
        double = torch.empty_like(sums[:samples], dtype=torch.float64)
        for start in range(0, len(sums), samples):
            part = sums[start : start + samples]
            whole = double[: len(part)]
            rescale(whole.copy_(part), factors, rectified, out=whole)
            if outside is not None:
                part.copy_(whole)
                torch.ne(part, part.clamp(low, high), out=outside[start : start + samples])
            part.copy_(whole.clamp_(low, high))
        ctx.mark_dirty(sums)
        ctx.rule = rule
        ctx.save_for_backward(outside, None, None, factors.factor32, None)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *_gradients(ctx, grad), *[None] * (5 + len(Rescaling._fields))


def _rescaled_by_calls(sums: Tensor, rescaling: Rescaling, ends: Ends) -> Tensor:
    """:func:`rescale_and_hold` of few numbers, of which a call into Python in the backward pass would take longer."""
    whole = rescale(sums.detach(), rescaling, ends.rectified).clamp_(ends.low, ends.high)
    # hardtanh has no gradient on its very bounds, and numbers half a step beyond the ends are rounded to them.
    held = functional.hardtanh(torch.mul(sums, rescaling.factor32), ends.low - 0.5, ends.high + 0.5)
    # Behind autograd's back, to which they remain a product between bounds.
    held.detach().copy_(whole)
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
    kind, scale, zero, axis = learned or ("", None, None, None)
    rule = _rule(ends, estimator, kind, axis)
    few = sums.numel() <= _CHUNK and not is_compiling()
    if few and rule == _CLIPPED and not any_sum and not ends.moving and sums.dtype is torch.float32:
        return _rescaled_by_calls(sums, rescaling, ends)
    y: Tensor = _Rescaled.apply(sums, scale, zero, ends.low, ends.high, rule, ends.rectified, any_sum, *rescaling)
    return y
