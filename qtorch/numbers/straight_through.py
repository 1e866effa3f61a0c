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
from qtorch.numbers.rescaling import Rescaling, on_grid, rescale, rescale_any

__all__ = [
    "Ends",
    "Estimator",
    "Learned",
    "lsq_gradient_scale",
    "normalized_and_held",
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

    ``rectifies`` says that a fused activation set the lower one, at 0; ``caps``, bool or bool ``[]``, that it set the
    higher one too. Beyond those the gradient is zero whatever the estimator, and they are no matter of the grid: a
    scale that is learned, or a zero point, does not move them.
    """

    low: Any
    high: Any
    rectifies: bool = False
    caps: Any = False

    @property
    def rectified(self) -> bool:
        """Whether nothing below 0 is on the grid; of ends that are tensors only what a fused activation says."""
        return self.rectifies if isinstance(self.low, Tensor) else self.low >= 0

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

    def stops(self, ends: Ends) -> bool:
        """Whether there are numbers that gradients do not get to."""
        return bool(self.learned) or self.estimator != "plain" or ends.rectifies

    def stopped(self, real: Tensor, whole: Tensor, negative: Tensor, ends: Ends) -> Tensor:
        """Those that they do not get to: the ones that round to no step of the grid.

        Args:
            real: before it was rounded.
            whole: after.
            negative: the same, where ``whole`` is not right below 0 and the grid has nothing there.
            ends: of the grid.
        """
        # Where a scale is learned, a fused ReLU's own gradient is taken, which ends at 0.
        low = real <= 0 if self.learned and ends.rectifies else negative < ends.low
        high = whole > ends.high
        if self.learned or self.estimator != "plain":
            return low | high
        return low if ends.caps is False else low | (high & ends.caps)


_CLIPPED = _Rule("clipped")


def _keep(
    ctx: Any,
    whole: Tensor,
    held: Tensor,
    real: Tensor,
    negative: Tensor,
    factor: Tensor | None,
    rule: _Rule,
    ends: Ends,
    scale: Tensor | None,
) -> None:
    """Save what :func:`_gradients` needs of numbers that were rounded and then held."""
    ctx.rule = rule
    stopped = rule.stopped(real, whole, negative, ends) if rule.stops(ends) else None
    missed = by_scale = at_grid_s_end = None
    if rule.learned:
        assert stopped is not None
        # Where nothing saturates, the scale's gradient is the rounding error, else the grid's end.
        # PACT leaves the rounding error out and has no gradient at the lower end, which is zero.
        pact = rule.learned == "pact"
        at_grid_s_end = stopped
        if ends.rectifies:
            at_grid_s_end = torch.gt(whole, ends.high) & (not ends.caps if isinstance(ends.caps, bool) else ~ends.caps)
        end = torch.where(at_grid_s_end, held.clamp_min(0) if pact else held, 0)
        by_scale = torch.where(stopped, end, 0 if pact else held - real).to(torch.float32)
    elif rule.estimator == "ewgs":
        missed = (real - whole).to(torch.float32)
    ctx.save_for_backward(stopped, missed, by_scale, at_grid_s_end, factor, scale)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of what was rounded, of the scale and of the zero point."""
    stopped, missed, by_scale, at_grid_s_end, factor, scale = ctx.saved_tensors
    of_scale = of_zero = None
    if by_scale is not None and ctx.needs_input_grad[1]:
        of_scale = _reduced(grad * by_scale, scale, ctx.rule.axis) / scale
    if ctx.needs_input_grad[2]:
        of_zero = -(grad * at_grid_s_end).sum()
    if missed is not None:
        grad = grad * (1 + EWGS_DELTA * torch.sign(grad) * missed)
    if stopped is not None:
        grad = grad.masked_fill(stopped, 0.0)
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
        ctx: Any, real: Tensor, scale: Tensor | None, zero: Tensor | None, rule: _Rule, even: bool, *ends: Any
    ) -> Tensor:
        whole = whole_steps(real) if even else round_half_away(real)
        held = whole.clamp(ends[0], ends[1])
        _keep(ctx, whole, held, real, whole, None, rule, Ends(*ends), scale)
        return held

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *_gradients(ctx, grad), *[None] * 6


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
    the same, fused       0             0                       0
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
    y: Tensor = _Rounded.apply(real, scale, zero, _Rule(estimator, kind, axis), even, *ends)
    return y


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, real: Tensor, scale: Tensor | None, low: float, high: float, overwrite: bool) -> Tensor:
        real = real if scale is None else torch.div(real, scale, out=real if overwrite else None)
        # Overwritten behind autograd's back: a batch norm keeps what it is given, not what it gives.
        whole = torch.round(real, out=real if overwrite else None)
        # Of whole numbers bfloat16 holds those up to 256, and none beyond becomes one below: half of the memory.
        small = low >= -256 and high <= 256
        ctx.save_for_backward(whole.to(torch.bfloat16) if small else whole, scale)
        ctx.ends = low - 0.5, high + 0.5
        return whole.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        whole, scale = ctx.saved_tensors
        grad = torch.ops.aten.hardtanh_backward(grad, whole.to(torch.float32), *ctx.ends)
        return grad if scale is None else grad.div_(scale), *[None] * 4


def normalized_and_held(real: Tensor, scale: Tensor | None, ends: Ends, *, overwrite: bool) -> Tensor:
    """What a batch norm or dropout computed, in steps, half to even: no device computes it, so as is cheapest.

    Args:
        real: float32; gradient clipped.
        scale: of a step, float32 ``[]``; ``None`` of what is in steps.
        ends: numbers.
        overwrite: whether nobody else has ``real``.
    """
    y: Tensor = _Normalized.apply(real, scale, ends.low, ends.high, overwrite)
    return y


class _Rescaled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sums: Tensor,
        scale: Tensor | None,
        zero: Tensor | None,
        rule: _Rule,
        any_sum: bool,
        *figures: Any,
    ) -> Tensor:
        count = len(Rescaling._fields)
        factors, ends = Rescaling(*figures[:count]), Ends(*figures[count:])
        if not any_sum and not rule.needs_real and sums.dtype is torch.float32:
            whole, real = rescale(sums, factors, ends.rectified), sums * factors.factor32
        else:
            sums64 = sums.to(torch.float64)
            real = sums64 * factors.factor
            whole = (rescale_any if any_sum else rescale)(sums64, factors, ends.rectified)
        held = whole.clamp(ends.low, ends.high)
        # What rounds to something below 0 is told by what is not rounded yet; see on_grid.
        negative = real - factors.offset + 1.0 if ends.rectified else whole
        _keep(ctx, whole, held, real, negative, factors.factor32, rule, ends, scale)
        return held.to(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *_gradients(ctx, grad), *[None] * (2 + len(Rescaling._fields) + len(Ends._fields))


class _RescaledInChunks(torch.autograd.Function):
    """Of many sums: in place, as many samples at a time as a cache holds in float64, and with the clipped gradient."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, low: float, high: float, *rescaling: Tensor) -> Tensor:
        factors = Rescaling(*rescaling)
        held = torch.empty_like(sums)
        samples = max(1, _CHUNK * len(sums) // sums.numel())
        double = torch.empty_like(sums[:samples], dtype=torch.float64)
        for start in range(0, len(sums), samples):
            part = sums[start : start + samples]
            # Overwritten behind autograd's back: what made the sums has not kept them.
            whole = rescale(double[: len(part)].copy_(part), factors, low >= 0, out=double[: len(part)], judged=part)
            held[start : start + samples].copy_(whole.clamp_(low, high))
        ctx.save_for_backward(sums, factors.factor32)
        ctx.ends = on_grid(low, high, low >= 0)
        return held

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        judged, factor = ctx.saved_tensors
        grad = torch.ops.aten.hardtanh_backward(grad, judged, *ctx.ends)
        return grad.mul_(factor), None, None, *[None] * len(Rescaling._fields)


def _rescaled_by_calls(sums: Tensor, rescaling: Rescaling, ends: Ends) -> Tensor:
    """:func:`rescale_and_hold` of few numbers, of which a call into Python in the backward pass would take longer."""
    judged = torch.mul(sums, rescaling.factor32)
    # Behind autograd's back, to which they remain a product between bounds.
    whole = rescale(sums.detach(), rescaling, ends.rectified, judged=judged.detach()).clamp_(ends.low, ends.high)
    held = functional.hardtanh(judged, *on_grid(ends.low, ends.high, ends.rectified))
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
    rule = _Rule(estimator, kind, axis)
    plain = rule == _CLIPPED and not any_sum and not ends.moving and not is_compiling()
    if plain and sums.dtype is torch.float32:
        if sums.numel() <= _CHUNK:
            return _rescaled_by_calls(sums, rescaling, ends)
        held: Tensor = _RescaledInChunks.apply(sums, ends.low, ends.high, *rescaling)
        return held
    y: Tensor = _Rescaled.apply(sums, scale, zero, rule, any_sum, *rescaling, *ends)
    return y
