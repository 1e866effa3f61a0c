"""RELU on its own: where no kernel before it can absorb it.

Source: TFLM ``micro/kernels/activations_common.cc``.
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
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import RESCALED, Free
from qtorch.row.fused_activation import activation_limits
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Call, Match, Row, Sample, TFLite, any_order, homogeneous_anywhere


def clamped_from_zero(call: Call) -> dict[str, Any] | None:
    """Of ``clamp(min=0)``; with an upper limit another row stands for it."""
    return {} if call.get("min") == 0 and call.get("max") is None else None


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """``max(input, 0)``, any shape."""
    return F.relu(x["input"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """One requantization by ``s_in / s_out``; clamp at the zero point.

    TFLM takes the quotient in double since October 2026; earlier ones took it in float32, as LiteRT's kernels do, which
    are the ones that round once.
    """
    s_in, s_out = (grids[role].scale.to(rounding.of_scales) for role in ("input", "output"))
    multiplier = quantize_multiplier((s_in / s_out).to(torch.float64))
    zero_point = int(grids["output"].zero_point)
    scaled = requantize(codes["input"] - grids["input"].zero_point, multiplier, rounding)
    return (scaled + zero_point).clamp(*activation_limits("relu", grids["output"]))


def factors(attrs: Attrs, grids: Mapping[str, Grid]) -> tuple[Tensor, Tensor]:
    """One quotient in double on either side of zero: what is below is clamped."""
    quotient = grids["input"].scale.to(torch.float64) / grids["output"].scale.to(torch.float64)
    return quotient, quotient


def samples() -> Iterable[Sample]:
    """Every code, for scales that shrink, grow and keep; zero points at both ends and inside."""
    codes = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    for s_in, z_in, s_out, z_out in [
        (0.05, -3, 0.02, -128),
        (0.02, 127, 0.05, 0),
        (0.1, 0, 0.1, 0),
        (0.013, -128, 0.4, 127),
        (3.0, 11, 0.01, -50),
        # The quotient is 1.5 in float32 and just below in double: odd codes end on a tie or not.
        (0.05142120271921158, 0, 0.03428080305457115, 0),
    ]:
        qparams = {
            "input": QParams((float(np.float32(s_in)),), (z_in,)),
            "output": QParams((float(np.float32(s_out)),), (z_out,)),
        }
        alike = ", alike" if 127 in (z_in, z_out) else ""
        qparams16 = {
            role: QParams((float(np.float32(q.scale[0] / 256)),), (0,), "int16") for role, q in qparams.items()
        }
        wide = np.linspace(-(2**15), 2**15 - 1, 1024).astype(np.int16).reshape(4, 256)
        yield Sample(f"int16 {s_in} to {s_out}", {}, {"input": wide}, qparams16)
        yield Sample(f"{s_in}@{z_in} to {s_out}@{z_out}{alike}", {}, {"input": codes}, qparams)


ROW = Row(
    name="relu",
    roles=("input",),
    matches=(
        Match("module", nn.ReLU),
        Match("aten", "relu"),
        *(Match("aten", name, clamped_from_zero) for name in ("clamp", "clip", "clamp_min")),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": RESCALED},
    reference=reference,
    tflite=TFLite(operator="RELU", resolver="AddRelu", version=lambda qparams: 2),
    onnx=one_operator("Relu"),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference, rescaling(factors, "relu")),
    by_table=True,
    litert_lsb={"int16": 1},
    most_axes=6,
    transposed=any_order,
    homogeneous=homogeneous_anywhere,
    divides_scales=True,
)
