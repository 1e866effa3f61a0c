"""Pure functions of quantization: codes from reals, reals from codes, grids from ranges.

Activations round half away from zero after a float32 division, which is what TFLM's QUANTIZE kernel and the generated C
headers do, so that a value on a tie gets the same code in training, on the host and on the device. Constants round half
to even, which costs one operation: weights and biases by :func:`whole_steps_` and nothing else, in training, in methods
that look for a better rounding, and for the export.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.short_mantissa import rounded_up_short

__all__ = [
    "WEIGHT_RANGE",
    "along",
    "bias_codes",
    "bias_scale",
    "bias_steps",
    "codes_of_steps",
    "constant_steps_",
    "dequantize",
    "exponential",
    "hold_few",
    "largest_magnitude",
    "logarithm",
    "over_channels",
    "quantize",
    "range_to_grid",
    "round_few_half_away_",
    "round_half_away",
    "round_half_away_",
    "weight_codes",
    "whole_steps",
    "whole_steps_",
    "whole_steps_straight_",
    "with_room_for_bias",
]

#: Codes of a symmetric weight: the lowest is left out, so that a weight and its negative are both representable.
WEIGHT_RANGE = {"int4": (-7, 7), "int8": (-127, 127)}

#: Biases stay below a quarter of int32, which leaves the accumulator room for the products.
BIAS_LIMIT = 2**29

#: Where a channel's weights and bias are all zero any scale will do; this one keeps s_in * s_w a normal float32.
SMALLEST_WEIGHT_SCALE = 2.0**-40

#: The largest number below one half. Added to a number just below a tie it does not reach the next integer, where one
#: half would; added to a tie it does, because the exact sum is no float32 (float64) and rounds up.
_BELOW_HALF = {torch.float32: 0.5 - 2.0**-25, torch.float64: 0.5 - 2.0**-54}
_BELOW_HALF_32 = np.array(_BELOW_HALF[torch.float32], dtype=np.float32)
_ONE = torch.tensor(1.0)


def round_half_away(x: Tensor) -> Tensor:
    """Nearest integer, ties away from zero (C's ``round``); float32 or float64 of any size, infinity included."""
    return round_half_away_(x.clone())


def round_half_away_(x: Tensor) -> Tensor:
    """:func:`round_half_away`, overwriting ``x``."""
    # PyTorch's trunc is some ten times slower on a CPU than a division that truncates.
    return x.add_(torch.sign(x), alpha=_BELOW_HALF[x.dtype]).div_(_ONE, rounding_mode="trunc")


def round_few_half_away_(array: Any) -> None:
    """:func:`round_half_away_` of a float32 array; for few numbers."""
    array += np.copysign(_BELOW_HALF_32, array)
    np.trunc(array, out=array)


def hold_few(array: Any, low: Any, high: Any, out: Any = None) -> Any:
    """An array, held between ``low`` and ``high``; what is no number stays that."""
    held = np.minimum(array, high, out=out)
    return np.maximum(held, low, out=held)


def whole_steps_(real: Tensor) -> Tensor:
    """A constant in units of its grid's step, to the nearest whole step, half to even; overwrites ``real``."""
    return real.round_()


def whole_steps(real: Tensor) -> Tensor:
    """:func:`whole_steps_` of what is needed afterwards."""
    return whole_steps_(real.clone())


def whole_steps_straight_(real: Tensor) -> Tensor:
    """:func:`whole_steps_` behind autograd's back, to which the numbers stay what they were; none is a leaf."""
    whole_steps_(real.detach())
    return real


def constant_steps_(x: Tensor, step: Tensor) -> Tensor:
    """A constant in whole steps of its grid, float; overwrites ``x``, whose precision is the division's."""
    return whole_steps_(x.div_(step))


def exponential(x: Tensor) -> Tensor:
    """``e**x`` of float32, through float64: no two devices agree on an exponential's last digit, and this drops it."""
    return torch.exp(x.to(torch.float64)).to(torch.float32)


def logarithm(scale: Tensor) -> float:
    """Of a scale, float32 ``[]``, as a parameter, float32, holds it."""
    return float(torch.tensor(math.log(float(scale)), dtype=torch.float32))


def along(values: Tensor, axis: int | None, ndim: int) -> Tensor:
    """``[]`` as it is; per-channel ``values [C]`` shaped to broadcast along ``axis`` of an ``ndim`` tensor."""
    if axis is None or values.dim() == 0 or ndim == 1:
        return values
    if axis == 0 and ndim == 2:
        return values.unsqueeze(1)
    return values.reshape([-1 if d == axis else 1 for d in range(ndim)])


def quantize(x: Tensor, grid: Grid, low: int, high: int) -> Tensor:
    """Codes of float32 ``x``: ``clamp(round(x / scale) + zero_point, low, high)``; float32 division.

    Values of any size, infinity included, saturate. TFLM's QUANTIZE kernel defines codes below 2**31 steps only: see
    :mod:`qtorch.ops.quantize`.

    Returns: int64 tensor of ``x``'s shape.
    """
    steps = round_half_away(x / grid.scale)
    # Bounded before the conversion, because float to integer is undefined beyond the integer's range; NaN becomes the
    # zero point, as in the generated headers.
    steps = steps.nan_to_num(0.0).clamp(-(2.0**31), 2.0**31)
    return (steps.to(torch.int64) + grid.zero_point).clamp(low, high)


def codes_of_steps(steps: Tensor, grid: Grid) -> Tensor:
    """Codes, int64, of float32 whole ``steps`` of the grid."""
    return steps.to(torch.int64).add_(grid.zero_point)


def dequantize(codes: Tensor, grid: Grid, axis: int | None = None) -> Tensor:
    """float32 reals of integer ``codes``: the product taken in double and rounded once."""
    scale = along(grid.scale, axis, codes.dim()).to(torch.float64)
    return (scale * (codes - grid.zero_point)).to(torch.float32)


def weight_codes(x: Tensor, grid: Grid, axis: int | None) -> Tensor:
    """int64 codes of a symmetric constant, half to even, from :data:`WEIGHT_RANGE`."""
    steps = constant_steps_(x.detach().clone(), along(grid.scale, axis, x.dim()))
    return steps.clamp_(*WEIGHT_RANGE[grid.dtype]).to(torch.int64)


def range_to_grid(low: Tensor, high: Tensor, dtype: str = "int8", smallest: float = 0.0) -> Grid:
    """The grid that covers ``[low, high]`` and zero: scale float32 ``[]``, zero point int32 ``[]``.

    int8 is asymmetric: ``scale = (high - low) / 255`` after both ends were moved to include 0.0; the zero point is the
    code nearest to 0.0, so 0.0 is exact. int16 has zero point 0: ``scale = max(|low|, |high|) / 32767``. A range that
    is empty (a dead activation) is taken to span 1. A scale below ``smallest`` becomes that, and all are rounded up to
    twelve bits (:mod:`qtorch.numbers.short_mantissa`).
    Source: Jacob et al. 2018, section 2.1 and 3.1; TFLite's 16x8 specification.
    """
    code_low, code_high = CODE_RANGE[dtype]
    low64, high64 = low.to(torch.float64).clamp(max=0.0), high.to(torch.float64).clamp(min=0.0)
    symmetric = dtype == "int16"
    span = torch.maximum(-low64, high64) if symmetric else high64 - low64
    steps = code_high if symmetric else code_high - code_low
    # By a tensor where the range is: a GPU divides by a number of the host by multiplying with its reciprocal.
    width = torch.where(span > 2.0**-60, span, torch.ones_like(span)) / torch.full_like(span, steps)
    scale = rounded_up_short(width.to(torch.float32).clamp_min(smallest))
    if symmetric:
        return Grid(scale, torch.zeros((), dtype=torch.int32), dtype)
    zero_point = round_half_away(code_low - low64 / scale.to(torch.float64)).clamp(code_low, code_high)
    return Grid(scale, zero_point.to(torch.int32), dtype)


def largest_magnitude(weight: Tensor, axis: int | None) -> Tensor:
    """``max |w|``, float32: ``[C]`` along ``axis``, or ``[]``."""
    return over_channels(weight.detach().abs(), axis)


def over_channels(magnitude: Tensor, axis: int | None) -> Tensor:
    """The largest, float32: ``[C]`` along ``axis``, or ``[]``."""
    if axis is None:
        return magnitude.amax()
    if axis:
        magnitude = magnitude.movedim(axis, 0)
    return (magnitude if magnitude.dim() == 2 else magnitude.flatten(1)).amax(1)


def with_room_for_bias(scale: Tensor, bias: Tensor | None, input_scale: Tensor) -> Tensor:
    """A weight's scale, float32 ``[C]`` or ``[]``, widened where the device could not add the bias in int32.

    The bias, in units of ``input_scale * scale``, stays below 2**29. Recomputed wherever it is needed, in training and
    at export alike.
    """
    if bias is None:
        return torch.clamp_min(scale, SMALLEST_WEIGHT_SCALE)
    # The larger of both, and not their sum: a bias of so few units that a float32 holds it widens nothing.
    magnitude = bias.detach().abs()
    needed = torch.div(magnitude if scale.dim() else magnitude.amax(), input_scale * BIAS_LIMIT)
    return torch.maximum(scale, needed.clamp_min_(SMALLEST_WEIGHT_SCALE))


def bias_scale(input_scale: Tensor, weight_scale: Tensor) -> Tensor:
    """Scale of the accumulator and so of the bias: ``s_in * s_w``, rounded once to float32."""
    return input_scale * weight_scale


def bias_codes(bias: Tensor, grid: Grid) -> Tensor:
    """Codes of a bias as float64 integers ``[C]``, without gradient; see :func:`bias_steps`."""
    return bias_steps(bias.detach(), grid)


def bias_steps(bias: Tensor, grid: Grid) -> Tensor:
    """A bias in whole steps of the accumulator, float64 ``[C]``, divided in double, half to even; gradient plain.

    double, because float32 can't hold every int32. An int64 bias keeps to 40 bits, which a double holds and the
    16-bit kernels' requantization takes.
    """
    low, high = grid.limits if grid.dtype == "int32" else (-(2**40), 2**40)
    steps = torch.div(bias.to(torch.float64), grid.scale.to(torch.float64))
    whole_steps_straight_(steps).detach().clamp_(low, high)
    return steps
