"""Functions of int16 codes by a table of 513 numbers and straight lines between them, as 16-bit kernels have them.

Mirrors ``LUTPopulate`` and ``LUTLookup`` for int16 in TFLM's ``kernels/internal/common.h``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qtorch.numbers.functional import round_half_away

__all__ = ["interpolated", "table_of"]

_STEPS = 512
_MIN, _MAX = -(2**15), 2**15 - 1


def _float32(x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float32)


def table_of(function: Callable[[Tensor], Tensor], low: float, high: float) -> Tensor:
    """int64 ``[513]``: ``function`` (float64 to float64) at 512 steps from ``low`` to ``high`` in Q0.15.

    Each but the last is moved by half the error that a straight line to the next makes in the middle. float32
    throughout, the function's result rounded to it.
    """
    first, last = _float32(low), _float32(high)
    # Of the codes' own grid, [-2**15, 2**15) in steps of 2 / 65535.
    step_out = _float32(2.0) / _float32(65535.0)
    to_codes = _float32(65536.0) / (step_out * _MAX - step_out * _MIN)
    step = (last - first) / _STEPS
    index = torch.arange(_STEPS, dtype=torch.float32)

    def at(x: Tensor) -> Tensor:
        return function(x.to(torch.float64)).to(torch.float32) * to_codes

    here, middle = round_half_away(at(first + index * step)), round_half_away(at(first + index * step + step / 2))
    line = round_half_away((at(first + (index + 1) * step) + here) / 2)
    entries = torch.cat([here - round_half_away((line - middle) / 2), round_half_away(at(last)).reshape(1)])
    return entries.clamp(_MIN, _MAX).to(torch.int64)


def interpolated(codes: Tensor, table: Tensor) -> Tensor:
    """int64 values of int16 ``codes``: 9 bits choose an entry, 7 interpolate, ties upwards."""
    table = table.to(codes.device)
    index, offset = (codes >> 7) + _STEPS // 2, codes & 127
    return table[index] + (((table[index + 1] - table[index]) * offset + 64) >> 7)
