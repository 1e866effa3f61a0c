"""What LOGISTIC and TANH share: the int8 kernel's road from a code to Q4.27 and back, and the int16 kernel's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.numbers.fixedpoint import Rounding, quantize_multiplier, requantize
from qtorch.numbers.gemmlowp import rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.kernel_call import Argument, ConstantTable, KernelCall, KernelCell, Operands, TensorArgument
from qtorch.row.row import Sample

__all__ = [
    "INPUT_INTEGER_BITS",
    "LARGEST_SCALE",
    "SMALLEST_SCALE",
    "input_radius",
    "int16_samples",
    "sigmoid_codes",
    "sigmoid_codes_int16",
    "sigmoid_kernel",
    "sigmoid_of_table",
    "sigmoid_table",
    "sigmoid_version",
    "tanh_codes_int16",
    "tanh_of_table",
    "unary_samples",
]

INPUT_INTEGER_BITS = 4

#: Above it the int16 kernels' multiplier is no int16, and soon its products no int32.
LARGEST_SCALE = {"int16": 8 / 3}

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
    every = torch.arange(-128, 128, device=codes.device) - int(source.zero_point)
    inside = every.clamp(-max(radius - 1, 0), max(radius - 1, 0))
    fixed = requantize(inside.clone(), multiplier, Rounding.DOUBLE)
    result = rounding_divide_by_power_of_two(function(fixed, INPUT_INTEGER_BITS), 31 - fraction_bits) + zero_point
    table = result.clamp(-128, 127)
    table = torch.where(every <= -radius, -128, torch.where(every >= radius, 127, table))
    return table[codes + 128]


#: Entries of the kernels' table that are not the nearest number but one above it.
_ONE_ABOVE = [
    4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49,
    50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255,
]  # fmt: skip


def _table() -> np.ndarray:
    table = np.rint(2.0**16 / (1.0 + np.exp(np.arange(256) / -24.0))).astype(np.int64)
    table[_ONE_ABOVE] += 1
    return table


#: An array, which no mode or device that torch is in makes another kind of tensor.
_TABLE = _table()


def sigmoid_table() -> Tensor:
    """``2**16 * sigmoid(i / 24)``, int64 ``[256]``."""
    return torch.from_numpy(_TABLE.copy())


def _interpolated(magnitude: Tensor, fraction_bits: int) -> Tensor:
    """The sigmoid of a number in units of ``1 / (24 * 2**fraction_bits)``, times ``2**(16 + fraction_bits)``.

    A straight line between neighbours in the table; 1 beyond its end.
    """
    table = torch.from_numpy(_TABLE).to(magnitude.device)
    index, fraction = magnitude >> fraction_bits, magnitude & (2**fraction_bits - 1)
    below = table[index.clamp(max=255)]
    above = table[(index + 1).clamp(max=255)]
    return (below << fraction_bits) + fraction * (above - below)


#: Powers of two that scales times 2**12 may be for the kernels to treat them apart.
_LOGISTIC_POWERS, _TANH_POWERS = (0,), (0, 1)


def _to_table(scale: float, powers: tuple[int, ...]) -> tuple[int, int, int]:
    """Factor, addend and right shift from a code to units of 2**-17 of 10.7, which is 24 * 512 a unit."""
    exponent = math.log2(scale)
    if exponent == round(exponent) and 12 + round(exponent) in powers:
        return 3 << (12 + round(exponent)), 0, 0
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        multiplier, shift = multiplier * 2, shift + 1
    return int(multiplier), 1 << (shift - 1) if shift else 0, shift


def _table_input(codes: Tensor, source: Grid, powers: tuple[int, ...]) -> Tensor:
    factor, half, shift = _to_table(float(source.scale), powers)
    return (codes * factor + half) >> shift


def sigmoid_kernel(tangent: bool) -> KernelCell:
    """The cell for int16 codes."""

    def cell(operands: Operands) -> KernelCall:
        powers = _TANH_POWERS if tangent else _LOGISTIC_POWERS
        factor, half, shift = _to_table(operands.grid("input").scale[0], powers)
        arguments: dict[str, Argument] = {
            "in": TensorArgument("input"), "out": TensorArgument("output"), "size": operands.size("input"),
            "table": ConstantTable(sigmoid_table().numpy().astype(np.uint16).view(np.int16)), "factor": factor,
            "half": half, "shift": shift, "tangent": int(tangent),
        }  # fmt: skip
        return KernelCall("sigmoid_s16", arguments, in_place=frozenset({"input"}))

    return cell


def sigmoid_codes_int16(codes: Tensor, source: Grid) -> Tensor:
    """int16 codes, scale 2**-15. Source: TFLM ``integer_ops/logistic.h``, ``micro/kernels/logistic_common.cc``."""
    return sigmoid_of_table(_table_input(codes, source, _LOGISTIC_POWERS))


def sigmoid_of_table(x: Tensor) -> Tensor:
    """int16 codes, scale 2**-15, of int64 numbers in units of ``1 / (24 * 512)``."""
    magnitude = x.abs()
    result = torch.where(magnitude >> 9 >= 255, 0x7FFF << 10, _interpolated(magnitude, 9))
    return torch.where(x >= 0, result + 2**9, 2**25 - result + 2**9 - 1) >> 10


def tanh_codes_int16(codes: Tensor, source: Grid) -> Tensor:
    """int16 codes, scale 2**-15: ``2 sigmoid(2x) - 1``. Source: TFLM ``integer_ops/tanh.h``."""
    return tanh_of_table(_table_input(codes, source, _TANH_POWERS))


def tanh_of_table(x: Tensor) -> Tensor:
    """int16 codes, scale 2**-15, of int64 numbers in units of ``1 / (24 * 512)``."""
    magnitude = x.abs()
    result = torch.where(magnitude >> 8 >= 255, 0xFFFF << 8, _interpolated(magnitude, 8))
    return torch.where(x >= 0, result - 2**23 + 2**7, -result + 2**23 + 2**7 - 1) >> 8


def sigmoid_version(qparams: Mapping[str, QParams | None]) -> int:
    """2 reads int8, 3 int16."""
    source = qparams["input"]
    return 3 if source is not None and source.dtype == "int16" else 2


def int16_samples(output: QParams) -> Iterable[Sample]:
    """Every int16 code at powers of two, which the kernels treat apart, and at other scales."""
    every = np.arange(-(2**15), 2**15).astype(np.int16).reshape(16, 4096)
    for scale in (2.0**-12, 2.0**-11, 2.0**-13, 3e-4, 2e-5, 1e-3, 2.6666665):
        qparams = {"input": QParams((float(np.float32(scale)),), (0,), "int16"), "output": output}
        yield Sample(f"int16 {scale:.3g}", {}, {"input": every}, qparams)


def unary_samples(output: QParams, scales: Iterable[float], attrs: dict[str, object] | None = None) -> Iterable[Sample]:
    """Every int8 code at each scale and at zero points inside and at both ends."""
    every = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
    for scale in scales:
        for zero_point in (-128, -7, 0, 127):
            qparams = {"input": QParams((float(np.float32(scale)),), (zero_point,)), "output": output}
            note = ", alike" if scale < 1e-3 else ", alike, TFLM alone" if scale > 8 else ""
            yield Sample(f"int8 {scale}@{zero_point}{note}", attrs or {}, {"input": every}, qparams)
