"""Pure functions of quantization: codes from reals, reals from codes, and their straight-through gradients.

Activations round half away from zero after a float32 division, which is what TFLM's QUANTIZE kernel and the generated C
headers do, so that a value on a tie gets the same code in training, on the host and on the device. Constants round half
to even, which costs one operation: nobody but this module ever rounds them, here for training and for the export alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtorch.qparams import CODE_RANGE, Grid

__all__ = [
    "bias_codes",
    "bias_scale",
    "codes_on_grid",
    "dequantize",
    "fake_quantize",
    "fake_quantize_weight",
    "inner_steps",
    "quantize",
    "range_to_grid",
    "replace_value",
    "round_half_away",
    "round_ste",
    "symmetric_scale",
    "weight_codes",
]

#: Codes of a symmetric weight: the lowest is left out, so that a weight and its negative are both representable.
WEIGHT_RANGE = {"int4": (-7, 7), "int8": (-127, 127)}

#: Biases stay below a quarter of int32, which leaves the accumulator room for the products.
BIAS_LIMIT = 2**29

#: Where a channel's weights and bias are all zero any scale will do; this one keeps s_in * s_w a normal float32.
SMALLEST_WEIGHT_SCALE = 2.0**-40


def round_half_away(x: Tensor) -> Tensor:
    """Nearest integer, ties away from zero (C's ``round``); exact also just below a tie, where ``x + 0.5`` is not."""
    whole = torch.trunc(x)
    # x - whole is exact, so doubling it compares the true fraction with one half. Infinity needs no rounding.
    return whole + torch.trunc((x - whole).nan_to_num_(0.0) * 2)


def _round_half_away_(x: Tensor) -> Tensor:
    """:func:`round_half_away` of finite numbers, overwriting ``x``."""
    whole = torch.trunc(x)
    return x.sub_(whole).mul_(2).trunc_().add_(whole)


class _RoundSte(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return round_half_away(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def round_ste(x: Tensor) -> Tensor:
    """Round half away from zero; the gradient passes straight through (Bengio et al. 2013, arXiv:1308.3432)."""
    rounded: Tensor = _RoundSte.apply(x)
    return rounded


def _along(values: Tensor, axis: int | None, ndim: int) -> Tensor:
    """Per-channel ``values [C]`` shaped to broadcast along ``axis`` of an ``ndim`` tensor."""
    if axis is None or values.dim() == 0 or ndim == 1:
        return values
    return values.reshape([-1 if d == axis else 1 for d in range(ndim)])


def quantize(x: Tensor, grid: Grid, low: int, high: int) -> Tensor:
    """Codes of float32 ``x``: ``clamp(round(x / scale) + zero_point, low, high)``; float32 division.

    Returns: int64 tensor of ``x``'s shape.
    """
    steps = round_half_away(x / grid.scale)
    # Bounded before the conversion, because float to integer is undefined beyond the integer's range; NaN becomes the
    # zero point, as in the generated headers.
    steps = steps.nan_to_num(0.0).clamp(-(2.0**31), 2.0**31)
    return (steps.to(torch.int64) + grid.zero_point).clamp(low, high)


def codes_on_grid(x: Tensor, grid: Grid) -> Tensor:
    """Codes of float32 ``x`` that lies on the grid, int64: no tie can occur, so any rounding will do."""
    steps = torch.div(x, grid.scale).round_().to(torch.int64)
    return steps.add_(grid.zero_point).clamp_(*grid.limits)


def dequantize(codes: Tensor, grid: Grid, axis: int | None = None) -> Tensor:
    """float32 reals of integer ``codes``: the product taken in double and rounded once."""
    scale = _along(grid.scale, axis, codes.dim()).to(torch.float64)
    return (scale * (codes - grid.zero_point)).to(torch.float32)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, inner: Tensor | None
    ) -> Tensor:
        if inner is None:
            steps = _round_half_away_(torch.div(x, scale))
        else:
            # A power of two scales without rounding, so that a tie of the outer rounding stays one.
            steps = _round_half_away_(torch.div(x, scale * inner).round_().mul_(inner))
        clipped = steps.clamp(low - zero_point, high - zero_point)
        ctx.save_for_backward(steps == clipped)
        return clipped.mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None, None


def fake_quantize(x: Tensor, grid: Grid, low: int, high: int, inner: Tensor | None = None) -> Tensor:
    """``dequantize(quantize(x))`` in float32, with the clipped straight-through gradient.

    The gradient is 1 where ``x`` is representable, 0 where it saturates (Jacob et al. 2018, arXiv:1712.05877).
    The scale is a constant to autograd. ``inner`` (see :func:`inner_steps`) rounds twice, as the device does.
    """
    y: Tensor = _FakeQuantize.apply(x, grid.scale, grid.zero_point, low, high, inner)
    return y


class _FakeConstant(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, limit: int) -> Tensor:
        steps = torch.div(x, scale).round_()
        clipped = steps.clamp(-limit, limit)
        ctx.save_for_backward(steps == clipped)
        return clipped.mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None


def fake_quantize_weight(x: Tensor, grid: Grid, axis: int | None) -> Tensor:
    """:func:`weight_codes` as float32 reals, with the clipped straight-through gradient."""
    y: Tensor = _FakeConstant.apply(x, _along(grid.scale, axis, x.dim()), WEIGHT_RANGE[grid.dtype][1])
    return y


def weight_codes(x: Tensor, grid: Grid, axis: int | None) -> Tensor:
    """int64 codes of a symmetric constant, half to even, from :data:`WEIGHT_RANGE`."""
    steps = torch.div(x.detach(), _along(grid.scale, axis, x.dim())).round_()
    return steps.clamp_(*WEIGHT_RANGE[grid.dtype]).to(torch.int64)


def inner_steps(accumulator_scale: Tensor, output_scale: Tensor, axis: int, ndim: int) -> Tensor:
    """To what share of the output's step the device rounds an accumulator before it rounds to whole steps.

    Requantization by ``m * 2**-e``, m in [1/2, 1), rounds to steps of ``2**-e`` first: without it about one value in
    ``2**e`` would end on the other side of a tie.

    Args:
        accumulator_scale: ``s_in * s_w``, ``[]`` or ``[C]``.
        output_scale: ``[]``.
        axis: of the channels in the tensor that is rounded.
        ndim: its number of axes.

    Returns: ``2**-e``, broadcast against that tensor; at most 1.
    """
    exponent = torch.frexp(accumulator_scale / output_scale).exponent
    return _along(torch.exp2(exponent.clamp_(max=0).to(torch.float32)), axis, ndim)


class _ReplaceValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def replace_value(x: Tensor, value: Tensor) -> Tensor:
    """``value`` in the forward pass, ``x``'s gradient in the backward pass."""
    y: Tensor = _ReplaceValue.apply(x, value)
    return y


def range_to_grid(low: Tensor, high: Tensor, dtype: str = "int8", smallest: float = 0.0) -> Grid:
    """The grid that covers ``[low, high]`` and zero: scale float32 ``[]``, zero point int32 ``[]``.

    int8 is asymmetric: ``scale = (high - low) / 255`` after both ends were moved to include 0.0; the zero point is the
    code nearest to 0.0, so 0.0 is exact. int16 has zero point 0: ``scale = max(|low|, |high|) / 32767``. A range that
    is empty (a dead activation) is taken to span 1. A scale below ``smallest`` becomes that.
    Source: Jacob et al. 2018, section 2.1 and 3.1; TFLite's 16x8 specification.
    """
    code_low, code_high = CODE_RANGE[dtype]
    low64, high64 = low.to(torch.float64).clamp(max=0.0), high.to(torch.float64).clamp(min=0.0)
    symmetric = dtype == "int16"
    span = torch.maximum(-low64, high64) if symmetric else high64 - low64
    steps = code_high if symmetric else code_high - code_low
    scale = (torch.where(span > 2.0**-60, span, torch.ones_like(span)) / steps).to(torch.float32).clamp_min(smallest)
    if symmetric:
        return Grid(scale, torch.zeros((), dtype=torch.int32), dtype)
    zero_point = round_half_away(code_low - low64 / scale.to(torch.float64)).clamp(code_low, code_high)
    return Grid(scale, zero_point.to(torch.int32), dtype)


def symmetric_scale(
    weight: Tensor, bias: Tensor | None, input_scale: Tensor, axis: int | None, limit: int = 127
) -> Tensor:
    """Weight scale, float32 ``[C]`` along ``axis`` or ``[]`` per tensor: ``max|w| / limit``.

    Widened where the bias, in units of ``input_scale * scale``, would not stay below 2**29 (the device adds it in
    int32). Recomputed from the weights wherever it is needed, in training and at export alike.
    """
    detached = weight.detach()
    bound = detached.abs().amax() if axis is None else detached.abs().movedim(axis, 0).flatten(1).amax(1)
    scale = bound / limit
    if bias is not None:
        magnitude = bias.detach().abs()
        needed = (magnitude if axis is not None else magnitude.amax()) / (input_scale * BIAS_LIMIT)
        scale = torch.maximum(scale, needed)
    return scale.clamp_min(SMALLEST_WEIGHT_SCALE)


def bias_scale(input_scale: Tensor, weight_scale: Tensor) -> Tensor:
    """Scale of the accumulator and so of the bias: ``s_in * s_w``, rounded once to float32."""
    return input_scale * weight_scale


def bias_codes(bias: Tensor, grid: Grid) -> Tensor:
    """Codes of a bias as float64 integers ``[C]``; double division, half to even.

    double, because float32 can't hold every int32. An int64 bias keeps to 40 bits, which a double holds and the
    16-bit kernels' requantization takes.
    """
    low, high = grid.limits if grid.dtype == "int32" else (-(2**40), 2**40)
    return torch.div(bias.detach().to(torch.float64), grid.scale.to(torch.float64)).round_().clamp_(low, high)
