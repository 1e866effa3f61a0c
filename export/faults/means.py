"""MEAN as it was until spring 2023: whether any sum of an operator's codes gets another code than by a multiplier.

On one grid for both the sum of the codes was divided as integers are in C, which cuts off. On two it became float32,
and what a processor does with a product and a sum in float32 is one rounding or two: both are held against the
multiplier.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from export.faults.fault import Operator
from export.faults.geometry import tensor
from export.tflite.file_data import FileTensor
from qtorch.numbers.fixedpoint import Rounding, requantize
from qtorch.numbers.grid import CODE_RANGE
from qtorch.numbers.qparams import QParams
from qtorch.ops.mean import multiplier_of_mean

__all__ = ["mean_cut_off_differs", "mean_in_float32_differs"]

#: Sums that are tried one by one; of more than these some differ.
_MOST = 2**20


def mean_in_float32_differs(operator: Operator) -> str:
    """From one grid to another: the first sum whose code is another."""
    found = _quantized(operator)
    if found is None or _alike(*found):
        return ""
    return _first(operator, *found, how="in float32")


def mean_cut_off_differs(operator: Operator) -> str:
    """On one grid: the first sum that is no multiple of how many codes there are, and is not cut off."""
    found = _quantized(operator)
    if found is None or not _alike(*found):
        return ""
    return _first(operator, *found, how="by a division that cuts off")


def _quantized(operator: Operator) -> tuple[FileTensor, FileTensor] | None:
    source, output = tensor(operator, 0), operator.outputs[0] if operator.outputs else None
    if source is None or output is None or source.dtype not in ("int8", "int16") or source.dtype != output.dtype:
        return None
    return (source, output) if source.scale and output.scale else None


def _alike(source: FileTensor, output: FileTensor) -> bool:
    return (source.scale, source.zero_point) == (output.scale, output.zero_point)


def _first(operator: Operator, source: FileTensor, output: FileTensor, how: str) -> str:
    low, high = CODE_RANGE[source.dtype]
    count = _count(operator, source)
    if count is None or count * (high - low) >= _MOST:
        return f"computed {how}, not by a multiplier"
    sums = np.arange(count * low, count * high + 1, dtype=np.int64)
    grids = {
        role: QParams(each.scale[:1], each.zero_point[:1], each.dtype).grid
        for role, each in (("input", source), ("output", output))
    }
    centred = torch.from_numpy(sums - count * source.zero_point[0])
    wanted = requantize(centred, multiplier_of_mean(grids, count), Rounding.DOUBLE).numpy() + output.zero_point[0]
    wanted = wanted.clip(*CODE_RANGE[output.dtype])
    for computed in _earlier(sums, count, source, output):
        wrong = np.flatnonzero(computed != wanted)
        if len(wrong):
            at = wrong[0]
            return (
                f"a sum of {sums[at]:,} over {count} codes becomes {int(computed[at])} {how}, {int(wanted[at])} by a "
                f"multiplier; so do {len(wrong):,} of {len(sums):,} sums"
            )
    return ""


def _count(operator: Operator, source: FileTensor) -> int | None:
    """Of codes in a mean; ``None`` where the file doesn't say over which axes."""
    if 1 not in operator.constants:
        return None
    axes = np.frombuffer(operator.constants[1], "<i4")
    return math.prod(source.shape[axis] for axis in {int(each) % len(source.shape) for each in axes})


def _earlier(sums: np.ndarray, count: int, source: FileTensor, output: FileTensor) -> list[np.ndarray]:
    """The codes of all sums, int64, on processors that fuse a product with a sum and on others."""
    if _alike(source, output):
        return [np.sign(sums) * (np.abs(sums) // count)]
    scale = np.float32(source.scale[0]) / np.float32(output.scale[0])
    bias = np.float32(-source.zero_point[0]) * scale
    means = sums.astype(np.float32) / np.float32(count)
    # Either of the two products may be the one that is not rounded before the sum.
    exact, of_zero = means.astype(np.float64) * np.float64(scale), -source.zero_point[0] * np.float64(scale)
    totals = (means * scale + bias, exact + np.float64(bias), (means * scale).astype(np.float64) + of_zero)
    limits = CODE_RANGE[output.dtype]
    return [(_rounded(each.astype(np.float32)) + output.zero_point[0]).clip(*limits) for each in totals]


def _rounded(numbers: np.ndarray) -> np.ndarray:
    """As C rounds, half away from 0."""
    wide = numbers.astype(np.float64)
    return (np.sign(wide) * np.floor(np.abs(wide) + 0.5)).astype(np.int64)
