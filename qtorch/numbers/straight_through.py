"""Functions that round in the forward pass and hand gradients through in the backward pass.

Rounding has a gradient of zero almost everywhere; a straight-through estimator puts another in its place. Which one,
and where it comes from, is said at each function. Forward values are those of :mod:`qtorch.numbers.functional` to the
bit.

Most are written as a copy of the input whose numbers are then overwritten behind autograd's back: to autograd it
remains a copy, whose gradient it passes on without a call into Python.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qtorch.numbers.functional import along, constant_steps_, round_half_away, round_half_away_, whole_steps

__all__ = [
    "Bounds",
    "Estimator",
    "fake_accumulator",
    "fake_constants",
    "fake_normalized",
    "fake_quantize",
    "learned_step",
    "lsq_gradient_scale",
    "replace_value",
    "round_ste",
    "scale_gradient",
]

#: Which gradient :func:`fake_quantize` has.
Estimator = Literal["clipped", "plain", "ewgs"]

#: How strongly EWGS scales gradients; the paper's value where none is derived from the Hessian.
EWGS_DELTA = 1e-3

#: A factor just above 1 that moves a tie, and nothing that is no tie, off its middle: away from zero.
_OFF_TIES = 1 + 2.0**-22
# As tensors: PyTorch wraps a Python number anew at every call.
_EXPONENT_BITS = torch.tensor(0x7F800000, dtype=torch.int32)
_HALF, _TWICE_OFF = torch.tensor(0.5), torch.tensor(2 * _OFF_TIES)


def round_ste(x: Tensor) -> Tensor:
    """Round half away from zero; the gradient passes straight through (Bengio et al. 2013, arXiv:1308.3432)."""
    y = x.clone()
    round_half_away_(y.detach())
    return y


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


class Bounds(NamedTuple):
    """Between which values a grid lies, in real numbers: whole steps as float32 has them, and half a step beyond.

    ``two_steps`` is twice the scale, float32 ``[]``.
    """

    low: float
    high: float
    beyond_low: float
    beyond_high: float
    two_steps: Tensor

    @classmethod
    def of(cls, scale: Tensor, low: float, high: float, number: float | None = None) -> Bounds:
        """Of ``low`` to ``high`` steps of ``scale``, which is ``number`` where that is known."""
        step = np.float32(float(scale) if number is None else number)
        ends = [float(np.float32(steps) * step) for steps in (low, high)]
        return cls(ends[0], ends[1], ends[0] - float(step) / 2, ends[1] + float(step) / 2, 2 * scale)


def _clipped(y: Tensor, bounds: Bounds) -> Tensor:
    """``y``, which lies on the grid, between its bounds; gradient 1 for every value that the grid has, 0 beyond."""
    # hardtanh has no gradient on its very bounds, so it gets wider ones.
    held = F.hardtanh(y, bounds.beyond_low, bounds.beyond_high)
    held.detach().clamp_(bounds.low, bounds.high)
    return held


def fake_quantize(x: Tensor, scale: Tensor, bounds: Bounds, estimator: Estimator = "clipped") -> Tensor:
    """``x`` rounded to whole steps, half away from zero, and held between bounds; float32.

    Args:
        x: any shape.
        scale: of a step, float32 ``[]``; a constant to autograd.
        bounds: of the grid.
        estimator: the gradient. ``"clipped"`` is 1 where ``x`` is representable and 0 where it saturates (Jacob et al.
            2018, arXiv:1712.05877); ``"plain"`` is 1 everywhere (Bengio et al. 2013, arXiv:1308.3432); ``"ewgs"`` is
            the clipped one times ``1 + delta * sign(g) * (x / scale - round(x / scale))`` (element-wise gradient
            scaling, Lee et al. 2021, arXiv:2104.00903).
    """
    if not x.requires_grad:
        return round_half_away_(torch.div(x, scale)).mul_(scale).clamp_(bounds.low, bounds.high)
    if estimator == "ewgs":
        x = _element_wise_scaled(x, scale)
    y = x.clone()
    numbers = y.detach()
    round_half_away_(numbers.div_(scale)).mul_(scale)
    if estimator == "plain":
        numbers.clamp_(bounds.low, bounds.high)
        return y
    return _clipped(y, bounds)


def fake_normalized(y: Tensor, scale: Tensor, bounds: Bounds) -> Tensor:
    """:func:`fake_quantize` of what a batch norm computed from its batch; gradient clipped.

    No device computes these numbers, so their ties go wherever is cheapest: to even.

    Args:
        y: float32; overwritten.
        scale: of a step, float32 ``[]``.
        bounds: of the grid.
    """
    y.detach().div_(scale).round_().mul_(scale)
    return _clipped(y, bounds)


class _ElementWiseScaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        real = torch.div(x, scale)
        ctx.save_for_backward(real.sub_(round_half_away(real)))
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * (1 + EWGS_DELTA * torch.sign(grad) * ctx.saved_tensors[0]), None


def _element_wise_scaled(x: Tensor, scale: Tensor) -> Tensor:
    y: Tensor = _ElementWiseScaled.apply(x, scale)
    return y


def _half_inner_steps(unit: Tensor, scale: Tensor) -> Tensor:
    """Half of ``2**-e`` where ``unit / scale = m * 2**-e``, m in [1/2, 1); at most 1/2. Read off the bits."""
    power = torch.div(unit, scale).view(torch.int32).bitwise_and_(_EXPONENT_BITS).view(torch.float32)
    return torch.minimum(power, _HALF, out=power)


def fake_accumulator(
    y: Tensor, unit: Tensor, scale: Tensor, bounds: Bounds, axis: int, estimator: Estimator = "clipped"
) -> Tensor:
    """:func:`fake_quantize` of a sum of products, rounded twice as the device does.

    The device's factor ``unit / scale = m * 2**-e``, m in [1/2, 1), is applied in two roundings: to steps of ``2**-e``
    of the output's, then to whole ones, half away from zero. Without the first about one value in ``2**e`` would end on
    the other side of a tie.

    Args:
        y: the sum in real numbers, float32; overwritten.
        unit: real value of an accumulator's unit, ``s_in * s_w``: float32 ``[C]`` or ``[]``.
        scale: of the output, float32 ``[]``.
        bounds: of the output.
        axis: of ``y``'s channels.
        estimator: see :func:`fake_quantize`.
    """
    if estimator == "ewgs":
        y = _element_wise_scaled(y, scale)
    half = _half_inner_steps(unit, scale)
    fine, share = torch.mul(half, bounds.two_steps), torch.mul(half, _TWICE_OFF)
    if axis != y.dim() - 1:
        fine, share = along(fine, axis, y.dim()), along(share, axis, y.dim())
    # A power of two scales without rounding, so a tie stays one until it is moved off its middle.
    y.detach().div_(fine).round_().mul_(share).round_().mul_(scale)
    if estimator == "plain":
        y.detach().clamp_(bounds.low, bounds.high)
        return y
    return _clipped(y, bounds)


def fake_constants(
    weight: Tensor, bias: Tensor | None, scale: Tensor, unit: Tensor, axis: int | None
) -> tuple[Tensor, Tensor | None]:
    """A weight on its grid and a bias in units of the accumulator, both half to even, gradient plain.

    For weights whose scale covers them, so that none saturates. Without gradients the bias is divided in double, as the
    exported codes are; a training step, for speed, divides in float32 and may leave a large bias one unit off.

    Args:
        weight: float32.
        bias: float32 ``[C]``, or ``None``.
        scale: of the weight, ``[C]`` along ``axis``, or ``[]``.
        unit: ``s_in * scale``.
        axis: see ``scale``.
    """
    weight, step = weight.clone(), along(scale, axis, weight.dim())
    constant_steps_(weight.detach(), step).mul_(step)
    if bias is not None:
        bias = bias.clone() if torch.is_grad_enabled() else bias.to(torch.float64)
        constant_steps_(bias.detach(), unit).mul_(unit)
        bias = bias.to(torch.float32)
    return weight, bias


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


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        zero: Tensor,
        low: int,
        high: int,
        axis: int | None,
        rounding: bool,
        even: bool,
    ) -> Tensor:
        step = along(scale, axis, x.dim())
        start = zero.round().clamp(low, high)
        real = torch.div(x, step)
        steps = whole_steps(real) if even else round_half_away(real)
        held = steps.clamp(low - start, high - start)
        ctx.save_for_backward(real, steps, held, scale)
        ctx.axis, ctx.rounding = axis, rounding
        return held * step

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        real, steps, held, scale = ctx.saved_tensors
        inside = steps == held
        if not any(ctx.needs_input_grad[1:3]):
            return grad * inside, None, None, None, None, None, None, None
        # Where nothing saturates y = scale * round(x / scale): x's own gradient, and the rounding error for the scale.
        # PACT leaves the rounding error out and has no gradient at the lower end, which is zero.
        outside = held if ctx.rounding else held.clamp_min(0)
        by_scale = torch.where(inside, held - real if ctx.rounding else torch.zeros_like(real), outside) * grad
        to_zero = -(grad * ~inside * along(scale, ctx.axis, grad.dim())).sum() if ctx.needs_input_grad[2] else None
        return grad * inside, _reduce(by_scale, scale, ctx.axis), to_zero, None, None, None, None, None


def _reduce(values: Tensor, like: Tensor, axis: int | None) -> Tensor:
    if like.dim() == 0 or axis is None:
        return values.sum().reshape(like.shape)
    return values.movedim(axis, 0).flatten(1).sum(1)


def learned_step(
    x: Tensor,
    scale: Tensor,
    zero: Tensor,
    low: int,
    high: int,
    axis: int | None = None,
    *,
    rounding: bool = True,
    even: bool = False,
) -> Tensor:
    """:func:`fake_quantize` with gradients for the scale and, where it requires one, the zero point.

    With ``v = x / scale`` and ``z = round(zero)``, ``y = scale * clamp(round(v), low - z, high - z)``. Gradients of an
    element:

    ====================  ============  ======================  =============
    where                 of x          of scale                of zero
    ====================  ============  ======================  =============
    within the range      1             ``round(v) - v``        0
    below, above          0             ``low - z, high - z``   ``-scale``
    ====================  ============  ======================  =============

    Args:
        x: float32.
        scale: float32 ``[]``, or ``[C]`` along ``axis``.
        zero: the zero point as a real number, float32 ``[]``.
        low: lowest code.
        high: highest code.
        axis: of the channels.
        rounding: ``False`` takes 0 instead of ``round(v) - v``, and of the ends the upper alone: PACT, where
            ``scale * high`` is the clipping level.
        even: ties go to even numbers, as constants' do, instead of away from zero.

    Source: LSQ, Esser et al. 2020 (arXiv:1902.08153), equation 3; LSQ+, Bhalgat et al. 2020 (arXiv:2004.09576), section
    3.1, with the offset as a zero point; PACT, Choi et al. 2018 (arXiv:1805.06085), section 3.
    """
    y: Tensor = _LearnedStep.apply(x, scale, zero, low, high, axis, rounding, even)
    return y
