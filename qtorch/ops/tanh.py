"""TANH, the hyperbolic tangent.

Source: TFLM ``kernels/internal/reference/integer_ops/tanh.h``, ``micro/kernels/tanh.cc``.
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
    sigmoid_kernel,
    sigmoid_version,
    tanh_codes_int16,
    unary_samples,
)
from qtorch.numbers import gemmlowp
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Fixed, Free
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import fine_enough, one_operator
from qtorch.row.row import Attrs, Match, Row, Sample, TFLite, any_order

_OUTPUT = Fixed({"int8": (1 / 128, 0), "int16": (1 / 32768, 0)})


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return torch.tanh(x["input"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """int8 through Q4.27 and Q0.31, saturating 15 away from zero; int16 by table."""
    if grids["input"].dtype == "int16":
        return tanh_codes_int16(codes["input"], grids["input"])
    return sigmoid_codes(codes["input"], grids["input"], gemmlowp.tanh, 7, 0)


def samples() -> Iterable[Sample]:
    """Every code at scales from flat to saturated."""
    yield from unary_samples(_OUTPUT.qparams("int8"), [SMALLEST_SCALE, 0.004, 0.05, 0.12, 1.0, 40.0])
    yield from int16_samples(_OUTPUT.qparams("int16"))


ROW = Row(
    name="tanh",
    roles=("input",),
    matches=(
        Match("module", nn.Tanh),
        Match("aten", "tanh"),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), SMALLEST_SCALE, LARGEST_SCALE), "output": _OUTPUT},
    reference=reference,
    tflite=TFLite(operator="TANH", resolver="AddTanh", version=sigmoid_version),
    # The 16-bit kernel interpolates in a table.
    onnx=fine_enough(one_operator("Tanh", {"int8": 1, "int16": 4}), 8.0),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference, sigmoid_kernel(tangent=True)),
    by_table=True,
    most_axes=6,
    transposed=any_order,
)
