"""LEAKY_RELU.

Source: TFLM ``kernels/internal/reference/leaky_relu.h``, ``micro/kernels/leaky_relu_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.c_cells.code_tables import by_table, rescaling
from qtorch.families.shape_rules import same_shape
from qtorch.numbers.fixedpoint import Rounding, quantize_multiplier, requantize
from qtorch.numbers.grid import CODE_RANGE, Grid
from qtorch.numbers.qparams import QParams
from qtorch.remedies.elementwise import rectified
from qtorch.row.constraints import RESCALED, Free
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import (
    Attrs,
    Call,
    Match,
    OptionField,
    Refused,
    Row,
    Sample,
    TFLite,
    any_order,
    homogeneous_anywhere,
)

#: Steeper ones could shift numbers out of int32 on grids that are fine for the positive side.
_STEEPEST = 2


def attributes(call: Call) -> dict[str, Any]:
    """The slope as a float32."""
    slope = float(np.float32(call.get("negative_slope", 0.01)))
    if not 0 <= slope <= _STEEPEST:
        raise Refused(expected=f"a slope from 0 to {_STEEPEST}", got=f"{slope}", remedy="scale the tensor as well")
    return {"alpha": slope}


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return F.leaky_relu(x["input"], attrs["alpha"])


def factors(attrs: Attrs, grids: Mapping[str, Grid], precision: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Of codes below zero and from there on."""
    alpha, s_in, s_out = (
        s.to(precision)
        for s in (torch.tensor(attrs["alpha"], dtype=torch.float64), grids["input"].scale, grids["output"].scale)
    )
    return s_in * alpha / s_out, s_in / s_out


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """One of two requantizations, rounded twice everywhere; a file's slope may be negative, as a layer's may not.

    TFLM takes their factors in double since October 2026; earlier ones and LiteRT in float32.
    """
    output = grids["output"]
    centred = codes["input"] - grids["input"].zero_point
    below, above = (
        requantize(centred * int(real.sign() or 1), quantize_multiplier(real.abs().to(torch.float64)), Rounding.DOUBLE)
        for real in factors(attrs, grids, rounding.of_scales)
    )
    return torch.where(centred >= 0, above, below).add_(output.zero_point).clamp_(*output.limits)


def samples() -> Iterable[Sample]:
    """Every code; slopes from flat to beyond one, and a negative one."""
    for dtype in ("int8", "int16"):
        low, high = CODE_RANGE[dtype]
        codes = np.linspace(low, high, 256 if dtype == "int8" else 1024).round().astype(dtype).reshape(8, -1)
        for alpha, s_in, z_in, s_out, z_out in [
            (0.01, 0.05, -3, 0.04, -120),
            (0.3, 0.02, 127, 0.01, 100),
            (1.5, 0.1, 0, 0.1, 0),
            (0.0, 0.1, 5, 0.1, -128),
            (0.2, 3.0, 11, 0.01, -50),
            (-0.2, 0.05, 9, 0.02, -7),
        ]:
            narrow = dtype == "int8"
            grids = [
                QParams((float(np.float32(s if narrow else s / 256)),), (z if narrow else 0,), dtype)
                for s, z in ((s_in, z_in), (s_out, z_out))
            ]
            attrs = {"alpha": float(np.float32(alpha))}
            qparams = {"input": grids[0], "output": grids[1]}
            yield Sample(f"{dtype} {alpha}, {s_in} to {s_out}", attrs, {"input": codes}, qparams)


ROW = Row(
    name="leaky_relu",
    roles=("input",),
    matches=(
        Match("module", nn.LeakyReLU, attributes),
        Match("aten", "leaky_relu", attributes),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": RESCALED},
    reference=reference,
    tflite=TFLite(
        operator="LEAKY_RELU",
        resolver="AddLeakyRelu",
        version=lambda qparams: 2,
        options="LeakyReluOptions",
        fields=(OptionField("alpha", "Alpha"),),
    ),
    onnx=one_operator("LeakyRelu", alpha=lambda operands: operands.attrs["alpha"]),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference, rescaling(factors)),
    by_table=True,
    most_axes=6,
    transposed=any_order,
    homogeneous=homogeneous_anywhere,
    remedies={
        "rrelu": rectified,
    },
    divides_scales=True,
)
