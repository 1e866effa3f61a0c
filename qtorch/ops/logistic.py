"""LOGISTIC, the sigmoid.

Source: TFLM ``kernels/internal/reference/integer_ops/logistic.h``, ``micro/kernels/logistic_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from qtorch.c_cells.code_tables import by_table
from qtorch.families.shape_rules import same_shape
from qtorch.families.sigmoids import (
    LARGEST_SCALE,
    SMALLEST_SCALE,
    int16_samples,
    sigmoid_codes,
    sigmoid_codes_int16,
    sigmoid_kernel,
    sigmoid_version,
    unary_samples,
)
from qtorch.numbers import gemmlowp
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.remedies.elementwise import gated
from qtorch.row.constraints import Fixed, Free
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import fine_enough, one_operator
from qtorch.row.row import Attrs, Match, Row, Sample, TFLite, any_order

_OUTPUT = Fixed({"int8": (1 / 256, -128), "int16": (1 / 32768, 0)})


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return torch.sigmoid(x["input"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """int8 through Q4.27 and Q0.31, saturating 15 away from zero; int16 by table."""
    if grids["input"].dtype == "int16":
        return sigmoid_codes_int16(codes["input"], grids["input"])
    return sigmoid_codes(codes["input"], grids["input"], gemmlowp.logistic, 8, -128)


def samples() -> Iterable[Sample]:
    """Every code at scales from flat to saturated."""
    yield from unary_samples(_OUTPUT.qparams("int8"), [SMALLEST_SCALE, 0.004, 0.05, 0.12, 1.0, 40.0])
    yield from int16_samples(_OUTPUT.qparams("int16"))


ROW = Row(
    name="logistic",
    roles=("input",),
    matches=(
        Match("module", nn.Sigmoid),
        Match("aten", "sigmoid"),
        Match("aten", "special_expit", written=("expit",)),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), SMALLEST_SCALE, LARGEST_SCALE), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(operator="LOGISTIC", resolver="AddLogistic", version=sigmoid_version),
    onnx=fine_enough(one_operator("Sigmoid"), 4.0),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference, sigmoid_kernel(tangent=False)),
    by_table=True,
    most_axes=6,
    transposed=any_order,
    remedies={
        "glu": gated,
    },
)
