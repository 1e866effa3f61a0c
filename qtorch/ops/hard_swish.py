"""HARD_SWISH: ``x * relu6(x + 3) / 6`` in 16-bit fixed point.

Source: TFLM ``kernels/internal/reference/hard_swish.h``, ``micro/kernels/hard_swish_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.c_cells.code_tables import by_table
from qtorch.families.shape_rules import same_shape
from qtorch.numbers.fixedpoint import Rounding, quantize_multiplier, reduced_mantissa
from qtorch.numbers.gemmlowp import rounding_divide_by_power_of_two
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import CoarserThan, Free
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Match, Row, Sample, TFLite, any_order

_MAX, _MIN = 2**15 - 1, -(2**15)


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return F.hardswish(x["input"])


def _multiplier(real: Tensor) -> tuple[Tensor, int]:
    """Q15 mantissa and shift of a factor."""
    mantissa, shift = quantize_multiplier(real.to(torch.float64))
    return reduced_mantissa(mantissa), int(shift)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """``round(a * b / 2**15)`` held to int16."""
    return ((a * b + 2**14) >> 15).clamp(_MIN, _MAX)


def _divide(x: Tensor, exponent: int) -> Tensor:
    """``round(x / 2**exponent)``, ties away from zero, as int16 arithmetic has it.

    From 16 bits on the kernel's mask is all ones and every number leaves a remainder: what should be 0 is 1 or -1.
    """
    if exponent < 16:
        return rounding_divide_by_power_of_two(x, exponent)
    return torch.where(x >= 0, 1, -1)


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """A table of 256: the input times a factor between 0 and 1 that is 0 at -3 and 1 at 3, both in Q0.15.

    TFLM takes the quotients of the scales in double since October 2026; earlier ones and LiteRT in float32. The sample
    "1.2966" tells them apart.
    """
    source, output = grids["input"], grids["output"]
    precision = rounding.of_scales
    fine = source.scale.to(precision) / 128
    to_output, output_shift = _multiplier(fine / output.scale.to(precision))
    to_factor, factor_shift = _multiplier(fine / torch.full_like(fine, 3 / 32768))
    value = (torch.arange(-128, 128, device=codes["input"].device) - source.zero_point) << 7
    factor = value
    if factor_shift > 0:
        factor = (factor << (factor_shift - 1)).clamp(_MIN, _MAX)
    factor = _multiply(factor, to_factor)
    if factor_shift > 0:
        factor = (factor << 1).clamp(_MIN, _MAX)
    factor = _divide(factor, max(0, -factor_shift))
    factor = (factor + 2**15) >> 1
    product = torch.div(factor * _multiply(value, to_output), 2**15, rounding_mode="trunc").clamp(_MIN, _MAX)
    table = _divide(product, -output_shift) + output.zero_point
    return table.clamp(-128, 127)[codes["input"] + 128]


def samples() -> Iterable[Sample]:
    """Every code, with +-3 inside, at the end of and outside the range."""
    every = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
    for s_in, z_in, s_out, z_out in [
        (0.05, -3, 0.03, -100),
        (0.01, 17, 0.006, 3),
        (0.5, -20, 0.3, -128),
        (0.023, -128, 0.023, -128),
        (4.0, 0, 2.0, 0),
        (0.001, 0, 0.001, 0),
        (0.05, 127, 0.002, 100),
        (3e-8, 0, 0.0133, 40),
        (1.296613335609436, 37, 0.45706045627593994, -128),
        (1e-7, 0, 1e-7, 0),
    ]:
        qparams = {
            "input": QParams((float(np.float32(s_in)),), (z_in,)),
            "output": QParams((float(np.float32(s_out)),), (z_out,)),
        }
        yield Sample(f"int8 {s_in}@{z_in} to {s_out}@{z_out}", {}, {"input": every}, qparams)


ROW = Row(
    name="hard_swish",
    roles=("input",),
    matches=(Match("module", nn.Hardswish), Match("aten", "hardswish")),
    forward=forward,
    # Coarser inputs are shifted to the left by more bits than an int has.
    # The kernels refuse a factor of 1 or more on the finer grid.
    constraints={"input": Free(largest={"int8": 2.0**24}), "output": CoarserThan(factors={"int8": 1 / 128})},
    reference=reference,
    tflite=TFLite(operator="HARD_SWISH", resolver="AddHardSwish", version=lambda qparams: 1),
    onnx=one_operator("HardSwish"),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference),
    by_table=True,
    most_axes=6,
    transposed=any_order,
    divides_scales=True,
)
