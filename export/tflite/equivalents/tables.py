"""Functions of one int8 code, as the table of 256 codes that their kernels compute: one lookup in C.

A row has three operators for a table: CAST, ADD of 128, GATHER (:mod:`export.tflite.counted_from_zero`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from export.tflite.equivalents.draft import Draft
from export.tflite.file_data import FileOperator
from qtorch.numbers.fixedpoint import quantize_multiplier, requantize
from qtorch.numbers.functional import round_half_away

__all__ = ["absolute", "elu", "put_table"]

_LOW, _HIGH = -128, 127
_EVERY = torch.arange(_LOW, _HIGH + 1)
#: From the grids' scales and zero points to the codes for all 256, int64.
_Codes = Callable[[float, int, float, int], torch.Tensor]


def absolute(draft: Draft, operator: FileOperator) -> None:
    """ABS: requantized by the scales' quotient if they differ (TFLM ``micro/kernels/elementwise.cc``); of int16 as
    LEAKY_RELU, whose slope of -1 is the same product."""
    tensors = [draft.tensors[index] for index in (*operator.inputs, *operator.outputs)]
    if all(each.dtype == "int16" and len(each.scale) == 1 and not any(each.zero_point) for each in tensors):
        draft.put("LEAKY_RELU", operator.inputs, operator.outputs, "LeakyReluOptions", {"Alpha": -1.0}, 2)
    else:
        _looked_up(draft, operator, _absolute_codes)


def _absolute_codes(s_in: float, z_in: int, s_out: float, z_out: int) -> torch.Tensor:
    value = (_EVERY - z_in).abs()
    if s_in != s_out:
        value = requantize(value, quantize_multiplier(torch.tensor(s_in / s_out, dtype=torch.float64)))
    return value + z_out


def elu(draft: Draft, operator: FileOperator) -> None:
    """ELU of int8: in float32, in the kernel's order of operations (TFLM ``micro/kernels/elu.cc``)."""
    _looked_up(draft, operator, _elu_codes)


def _elu_codes(s_in: float, z_in: int, s_out: float, z_out: int) -> torch.Tensor:
    real = np.float32(s_in) * (_EVERY.numpy() - z_in).astype(np.float32)
    # A C library's expf is the double's to the nearest in all but a few cases in a thousand million.
    exponentials = np.array([math.exp(min(float(x), 0.0)) for x in real], np.float32)
    computed = np.where(real < 0, exponentials - np.float32(1), real) * (np.float32(1) / np.float32(s_out))
    return round_half_away(torch.from_numpy(computed)).to(torch.int64) + z_out


def _looked_up(draft: Draft, operator: FileOperator, codes: _Codes) -> None:
    (source,), (output,) = operator.inputs, operator.outputs
    given, made = draft.tensors[source], draft.tensors[output]
    if (given.dtype, made.dtype) != ("int8", "int8") or len(given.scale) != 1 or len(made.scale) != 1:
        draft.operators.append(operator)
        return
    table = codes(given.scale[0], given.zero_point[0], made.scale[0], made.zero_point[0])
    put_table(draft, source, table.clamp(_LOW, _HIGH).numpy().astype(np.int8), output)


def put_table(draft: Draft, source: int, table: np.ndarray, output: int) -> None:
    """For every code of ``source`` one of ``table``'s 256, as the three operators of a row."""
    entries = draft.constant(table, output)
    lowest = draft.constant(np.array(-_LOW, np.int32))
    wide, counted = (draft.whole_numbers(draft.shape(source)) for _ in range(2))
    draft.put("CAST", [source], [wide], "CastOptions")
    draft.put("ADD", [wide, lowest], [counted], "AddOptions")
    draft.put("GATHER", [entries, counted], [output], "GatherOptions")
