"""Functions that round in the forward pass and hand gradients through in the backward pass.

Rounding has a gradient of zero almost everywhere; a straight-through estimator puts another in its place. Which one,
and where it comes from, is said at each function. What comes out are **steps**: whole numbers, float32, by how many
steps of its grid a value lies from zero, which is code less zero point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from qtorch.numbers.functional import (
    hold_few,
    round_few_half_away_,
    round_half_away,
    round_half_away_,
    whole_steps,
)

__all__ = [
    "Ends",
    "Estimator",
    "Learned",
    "Rule",
    "gradients",
    "hardtanh_backward",
    "in_one_piece",
    "lsq_gradient_scale",
    "normalized_and_held",
    "of_grid_in_one_piece",
    "replace_value",
    "round_and_hold",
    "round_ste",
]

#: Which gradient :func:`round_and_hold` has.
Estimator = Literal["clipped", "plain", "ewgs"]

#: How strongly EWGS scales gradients; the paper's value where none is derived from the Hessian.
EWGS_DELTA = 1e-3

#: Numbers of which PyTorch's calls take longer than what they compute.
_FEW = 2**12
#: Numbers that memory is not short of, so that they are kept for the backward pass as they are.
_FEW_TO_KEEP = 2**20

#: The overload itself: looking for it at every call takes as long as the call on few numbers.
hardtanh_backward = torch.ops.aten.hardtanh_backward.default


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
    def moving(self) -> bool:
        """Whether they are tensors, whose numbers are not read."""
        return isinstance(self.low, Tensor)

    @property
    def tensors(self) -> list[Tensor | None]:
        """For each of the four, the tensor that it is; ``None`` for a number. What autograd has to save."""
        return [each if isinstance(each, Tensor) else None for each in self]

    def with_tensors(self, tensors: Sequence[Tensor | None]) -> Ends:
        """The same with :attr:`tensors` as they were saved."""
        low, high, rectifies, caps = [a if b is None else b for a, b in zip(self, tensors, strict=True)]
        return Ends(low, high, bool(rectifies), caps)


class Learned(NamedTuple):
    """What of a grid is learned.

    ``kind`` is ``"lsq"``, ``"lsq+"`` or ``"pact"``; ``log_scale`` the scale's natural logarithm, float32 ``[]``, or
    ``[C]`` along ``axis``; ``zero_share`` the zero point in units of 256 codes, float32 ``[]``. Their gradients are
    multiplied by ``share``, a number or float32 of the shape of ``log_scale``: 0 where the grid has another scale.
    """

    kind: str
    log_scale: Tensor
    share: Any = 1.0
    zero_share: Tensor | None = None
    axis: int | None = None


def round_ste(x: Tensor) -> Tensor:
    """Round half away from zero; the gradient passes straight through (Bengio et al. 2013, arXiv:1308.3432)."""
    return replace_value(x, round_half_away(x.detach()))


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


class Rule(NamedTuple):
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

    def stopped(self, real: Tensor, whole: Tensor, ends: Ends) -> Tensor:
        """Those that they do not get to: the ones that round to no step of the grid."""
        # Where a scale is learned, a fused ReLU's own gradient is taken, which ends at 0.
        low = real <= 0 if self.learned and ends.rectifies else whole < ends.low
        high = whole > ends.high
        if self.learned or self.estimator != "plain":
            return low | high
        return low if ends.caps is False else low | (high & ends.caps)


def in_one_piece(rule: Rule, zero: bool, ends: Ends) -> bool:
    """Whether :func:`of_grid_in_one_piece` is right: beyond ends that are numbers, the scale's gradient is the end, or
    the end is 0; and the zero point's, if ``zero`` says that it is learned, is that of the number."""
    if not rule.learned or ends.moving or ends.caps is not False:
        return False
    if ends.rectifies and zero:
        return False
    return rule.learned != "pact" or bool(ends.low >= 0)


def of_grid_in_one_piece(
    ctx: Any, grad: Tensor, inside: Tensor, real: Tensor, held: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of the scale and of the zero point, in as few passes as there can be.

    Args:
        ctx: see :func:`gradients`.
        grad: of what was held.
        inside: the same, 0 where the number saturates.
        real: before it was rounded; where it saturates, any number.
        held: after it was held.
    """
    of_scale = of_zero = None
    if ctx.needs_input_grad[1]:
        # The rounding error where nothing saturates, which PACT leaves out, else the end.
        less = held if ctx.rule.learned == "pact" else real
        by_scale = torch.mul(grad, held).addcmul_(inside, less, value=-1)
        of_scale = _reduced(by_scale, ctx.rule.axis) * ctx.share
    if ctx.needs_input_grad[2]:
        of_zero = torch.sub(grad, inside).sum() * (-256 * ctx.share)
    return of_scale, of_zero


def gradients(
    ctx: Any, grad: Tensor, real: Tensor, whole: Tensor, ends: Ends
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Of numbers that were rounded and then held between ``ends``, of the scale and of the zero point.

    Args:
        ctx: with ``rule`` and ``share``, of a function whose second and third input are ``log_scale``, ``zero_share``.
        grad: of what was held.
        real: before it was rounded; ``None`` where the rule does not need it.
        whole: rounded, and not held yet, which says what gets a gradient.
        ends: see above.
    """
    rule = ctx.rule
    if in_one_piece(rule, ctx.needs_input_grad[2], ends):
        inside = hardtanh_backward(grad, whole, ends.low - 0.5, ends.high + 0.5)
        if ends.rectifies:
            # A fused ReLU's own gradient, which ends at 0.
            inside = torch.ops.aten.threshold_backward.default(inside, real, 0.0)
        return inside, *of_grid_in_one_piece(ctx, grad, inside, real, whole.clamp(ends.low, ends.high))
    of_scale = of_zero = None
    stopped = rule.stopped(real, whole, ends) if rule.stops(ends) else None
    if rule.learned:
        assert stopped is not None
        # Where nothing saturates, the scale's gradient is the rounding error, else the grid's end.
        # PACT leaves the rounding error out and has no gradient at the lower end, which is zero.
        pact, held = rule.learned == "pact", whole.clamp(ends.low, ends.high)
        at_grid_s_end = stopped
        if ends.rectifies:
            at_grid_s_end = torch.gt(whole, ends.high) & (not ends.caps if isinstance(ends.caps, bool) else ~ends.caps)
        if ctx.needs_input_grad[1]:
            end = torch.where(at_grid_s_end, held.clamp_min(0) if pact else held, 0)
            by_scale = torch.where(stopped, end, 0 if pact else held - real)
            of_scale = _reduced(grad * by_scale, rule.axis) * ctx.share
        if ctx.needs_input_grad[2]:
            of_zero = (grad * at_grid_s_end).sum() * (-256 * ctx.share)
    elif rule.estimator == "ewgs":
        grad = grad * (1 + EWGS_DELTA * torch.sign(grad) * (real - whole))
    return grad if stopped is None else grad.masked_fill(stopped, 0.0), of_scale, of_zero


def _reduced(values: Tensor, axis: int | None) -> Tensor:
    if axis is None:
        return values.sum()
    return values.movedim(axis, 0).flatten(1).sum(1)


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        real: Tensor,
        log_scale: Tensor | None,
        zero: Tensor | None,
        share: Any,
        rule: Rule,
        even: bool,
        *ends: Any,
    ) -> Tensor:
        whole = (whole_steps if even else round_half_away)(real)
        ctx.rule, ctx.share, ctx.even, ctx.ends = rule, share, even, Ends(*ends)
        ctx.save_for_backward(real, *ctx.ends.tensors)
        return whole.clamp_(ends[0], ends[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        real, *ends = ctx.saved_tensors
        whole = (whole_steps if ctx.even else round_half_away)(real)
        return *gradients(ctx, grad, real, whole, ctx.ends.with_tensors(ends)), *[None] * 7


def round_and_hold(
    real: Tensor,
    ends: Ends,
    estimator: Estimator = "clipped",
    learned: Learned | None = None,
    *,
    even: bool = False,
    overwrite: bool = False,
) -> Tensor:
    """Numbers in steps, rounded to whole ones and held between ``ends``; float32.

    With ``v`` a number, ``y = clamp(round(v), low, high)``. ``y`` is in steps of a scale; the gradient of that scale is
    the one that it has through all that ``scale * y`` goes into, and of its logarithm so many times that:

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
        overwrite: whether nobody else has ``real``.

    Source: LSQ, Esser et al. 2020 (arXiv:1902.08153), equation 3; LSQ+, Bhalgat et al. 2020 (arXiv:2004.09576), section
    3.1, with the offset as a zero point; PACT, Choi et al. 2018 (arXiv:1805.06085), section 3.
    """
    if not real.requires_grad and learned is None:
        if even:
            return whole_steps(real).clamp_(ends.low, ends.high)
        whole = real if overwrite else real.clone()
        if whole.is_cpu and type(whole) is Tensor and whole.numel() <= _FEW and not ends.moving:
            array = whole.detach().numpy()
            round_few_half_away_(array)
            hold_few(array, ends.low, ends.high, out=array)
            return whole
        return round_half_away_(whole).clamp_(ends.low, ends.high)
    kind, log_scale, share, zero, axis = learned or ("", None, 0.0, None, None)
    y: Tensor = _Rounded.apply(real, log_scale, zero, share, Rule(estimator, kind, axis), even, *ends)
    return y


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, real: Tensor, scale: Tensor | None, low: float, high: float, overwrite: bool) -> Tensor:
        real = real if scale is None else torch.div(real, scale, out=real if overwrite else None)
        # Overwritten behind autograd's back: a batch norm keeps what it is given, not what it gives.
        out = real if overwrite else None
        ctx.ends = low - 0.5, high + 0.5
        if real.numel() <= _FEW_TO_KEEP:
            # Just inside of the ties, from where rounding leads to the ends.
            ctx.ends = tuple(np.nextafter(np.array(ctx.ends, np.float32), np.float32(0.0)).tolist())
            kept = torch.clamp(real, *ctx.ends, out=out)
            held = torch.round(kept)
        else:
            whole = torch.round(real, out=out)
            held = whole.clamp(low, high)
            # Of whole numbers bfloat16 holds those up to 256, and none beyond becomes one below: half of the memory.
            kept = whole.to(torch.bfloat16) if low >= -256 and high <= 256 else whole
        ctx.save_for_backward(kept, scale)
        return held

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        kept, scale = ctx.saved_tensors
        grad = hardtanh_backward(grad, kept.to(torch.float32), *ctx.ends)
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
