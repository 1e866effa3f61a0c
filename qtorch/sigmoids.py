"""What LOGISTIC and TANH share: the int8 kernel's road from a code to Q4.27 and back, and the int16 kernel's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from qtorch.fixedpoint import Rounding, quantize_multiplier, requantize
from qtorch.gemmlowp import rounding_divide_by_power_of_two
from qtorch.qparams import Grid, QParams
from qtorch.row import Sample

__all__ = ["INPUT_INTEGER_BITS", "SMALLEST_SCALE", "input_radius", "sigmoid_codes", "unary_samples"]

INPUT_INTEGER_BITS = 4

#: Below it the kernels shift by a negative number of bits.
SMALLEST_SCALE = 2.0**-28


def input_radius(integer_bits: int, shift: int) -> int:
    """The code distance from zero beyond which the kernels saturate.

    Source: TFLM ``kernels/internal/quantization_util.cc``, ``CalculateInputRadius``.
    """
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**shift)


def sigmoid_codes(
    codes: Tensor, source: Grid, function: Callable[[Tensor, int], Tensor], fraction_bits: int, zero_point: int
) -> Tensor:
    """int8 codes of ``function`` (Q4.27 to Q0.31), its result kept to ``fraction_bits`` bits behind the point.

    Source: TFLM ``kernels/internal/reference/integer_ops/logistic.h``, ``tanh.h``. LiteRT's kernels round alike.
    """
    multiplier = quantize_multiplier(source.scale.to(torch.float64) * 2.0 ** (31 - INPUT_INTEGER_BITS))
    radius = input_radius(INPUT_INTEGER_BITS, int(multiplier.shift))
    every = torch.arange(-128, 128) - int(source.zero_point)
    inside = every.clamp(-max(radius - 1, 0), max(radius - 1, 0))
    fixed = requantize(inside.clone(), multiplier, Rounding.DOUBLE)
    result = rounding_divide_by_power_of_two(function(fixed, INPUT_INTEGER_BITS), 31 - fraction_bits) + zero_point
    table = result.clamp(-128, 127)
    table = torch.where(every <= -radius, -128, torch.where(every >= radius, 127, table))
    return table[codes + 128]


def unary_samples(output: QParams, scales: Iterable[float], attrs: dict[str, object] | None = None) -> Iterable[Sample]:
    """Every int8 code at each scale and at zero points inside and at both ends."""
    every = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
    for scale in scales:
        for zero_point in (-128, -7, 0, 127):
            qparams = {"input": QParams((float(np.float32(scale)),), (zero_point,)), "output": output}
            note = ", alike" if scale < 1e-3 else ", alike, TFLM alone" if scale > 8 else ""
            yield Sample(f"int8 {scale}@{zero_point}{note}", attrs or {}, {"input": every}, qparams)
