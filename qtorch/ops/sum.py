"""SUM over some axes: the sum, requantized by ``s_in / s_out``; no layer is exported as one, other converters' are.

Source: TFLM ``kernels/internal/reference/reduce.h``, ``QuantizedMeanOrSum``; ``micro/kernels/reduce_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from qtorch.families.reductions import reduced, reduction_operator, rows_of_reduction, sums_over_axes_kernel
from qtorch.families.shape_rules import axes_from_front
from qtorch.numbers.fixedpoint import Multiplier, Rounding, fits_int32, quantize_multiplier, requantize
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import RESCALED, Free
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.row import Attrs, Row, Sample


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return x["input"].sum(attrs["axes"], keepdim=attrs["keep_dims"])


def _multiplier(grids: Mapping[str, Grid]) -> Multiplier:
    return quantize_multiplier(grids["input"].scale.to(torch.float64) / grids["output"].scale.to(torch.float64))


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """One requantization by the scales' quotient, in double."""
    source, output, x = grids["input"], grids["output"], codes["input"]
    total = fits_int32((x - source.zero_point).sum(attrs["axes"], keepdim=attrs["keep_dims"]), "sum")
    return requantize(total, _multiplier(grids), Rounding.DOUBLE).add_(output.zero_point).clamp_(*output.limits)


def kernel(operands: Operands) -> KernelCall:
    """Sums in int32, each requantized: MEAN's kernel, by another factor."""
    return sums_over_axes_kernel(operands, lambda grids, count: _multiplier(grids))


def samples() -> Iterable[Sample]:
    """One axis and several, kept and dropped; factors above and below 1, saturation."""
    rng = np.random.default_rng(9)
    for dtype in ("int8", "int16"):
        for shape, axes, s_in, z_in, s_out, z_out in [
            ((3, 4, 4, 5), (1, 2), 0.05, -3, 0.6, 4),
            ((3, 7, 3, 5), (3,), 0.05, 127, 0.2, 127),
            ((3, 7, 3, 5), (1, 2, 3), 0.05, -128, 6.0, -128),
            ((4, 6, 5), (2,), 0.1, 9, 0.02, 3),
        ]:
            narrow = dtype == "int8"
            grids = [
                QParams((float(np.float32(s if narrow else s / 256)),), (z if narrow else 0,), dtype)
                for s, z in ((s_in, z_in), (s_out, z_out))
            ]
            limits = np.iinfo(dtype)
            codes = rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
            for keep in (True, False):
                # LiteRT begins its sum at another number.
                label = f"{dtype} {shape} over {axes}, kept {keep}, TFLM alone"
                qparams = {"input": grids[0], "output": grids[1]}
                yield Sample(label, {"axes": axes, "keep_dims": keep}, {"input": codes}, qparams)


ROW = Row(
    name="sum",
    roles=("input",),
    matches=(),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": RESCALED},
    reference=reference,
    tflite=reduction_operator("SUM", "AddSum"),
    shapes=reduced,
    rows=rows_of_reduction,
    normalized=axes_from_front,
    samples=samples,
    c=kernel,
)
