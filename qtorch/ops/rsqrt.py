"""RSQRT: ``1 / sqrt(x)`` of numbers that are not negative; 0 gives the largest code.

Source: TFLM ``micro/kernels/elementwise.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.c_cells.code_tables import by_table
from qtorch.families.shape_rules import same_shape
from qtorch.numbers.fixedpoint import Multiplier, Rounding, quantize_multiplier, requantize
from qtorch.numbers.gemmlowp import inverse_square_root
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import InverseRoot, NotNegative
from qtorch.row.image_rows import same_row
from qtorch.row.kernel_call import Operands
from qtorch.row.onnx_form import NEAREST, Onnx, OnnxNode
from qtorch.row.row import Attrs, Match, Row, Sample, TFLite, any_order

#: Bits that keep the root an integer between its two requantizations.
_SHIFT = 20


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return torch.rsqrt(x["input"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """A table of 256; the scales' factor is inverted in double.

    TFLM takes the factor in double since October 2026, the root too; earlier ones and LiteRT in float32.
    """
    source, output = grids["input"], grids["output"]
    value = (torch.arange(-128, 128, device=codes["input"].device) - source.zero_point).clamp_min(0)
    mantissa, shift = inverse_square_root(value)
    root = requantize(torch.ones_like(value), Multiplier(mantissa, shift + _SHIFT), Rounding.DOUBLE)
    s_in, s_out = (each.scale.to(rounding.of_scales) for each in (source, output))
    scales = (torch.sqrt(s_in) * s_out).to(torch.float64)
    mantissa, shift = quantize_multiplier(1 / scales)
    table = requantize(root, Multiplier(mantissa, shift - _SHIFT), Rounding.DOUBLE) + output.zero_point
    return torch.where(value == 0, 127, table.clamp(-128, 127))[codes["input"] + 128]


def samples() -> Iterable[Sample]:
    """Every code from the zero point up."""
    for s_in, s_out, z_out in [
        (0.05, 0.02, -128),
        (0.01, 0.1, -128),
        (1.0, 0.005, -20),
        (0.0003, 0.9, 5),
        # The root of 248 is at a tie, where the product of scales in float32 is on its other side.
        (0.0011196136474609375, 0.008453369140625, -128),
        # That of 236, where the root of the scale is another in float32.
        (0.15768000483512878, 0.012142909690737724, -128),
    ]:
        every = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
        qparams = {
            "input": QParams((float(np.float32(s_in)),), (-128,)),
            "output": QParams((float(np.float32(s_out)),), (z_out,)),
        }
        yield Sample(f"int8 {s_in} to {s_out}@{z_out}", {}, {"input": every}, qparams)


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """0 becomes infinity, which saturates."""
    return [OnnxNode("Sqrt", ("input",), ("root",)), OnnxNode("Reciprocal", ("root",))]


ROW = Row(
    name="rsqrt",
    roles=("input",),
    matches=(Match("aten", "rsqrt"),),
    forward=forward,
    # The kernels fail at run time on a code below the zero point.
    constraints={"input": NotNegative(), "output": InverseRoot()},
    reference=reference,
    tflite=TFLite(operator="RSQRT", resolver="AddRsqrt", version=lambda qparams: 2),
    onnx=Onnx(onnx_form, NEAREST),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference),
    by_table=True,
    divides_scales=True,
    transposed=any_order,
)
