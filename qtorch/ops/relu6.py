"""RELU6 on its own: where no kernel before it can absorb it. It clamps codes on the input's own grid.

Source: TFLM ``micro/kernels/activations.h``, ``activations_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtorch.c_cells.code_tables import by_table, rescaling
from qtorch.families.shape_rules import same_shape
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, SameAs
from qtorch.row.fused_activation import SMALLEST_RELU6_SCALE, activation_limits
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import NEAREST, Onnx, clamped_to_6
from qtorch.row.row import Attrs, Call, Match, Row, Sample, TFLite, any_order


def clamped(call: Call) -> dict[str, object] | None:
    """Of ``hardtanh`` and ``clamp`` from 0 to 6; with other limits another row stands for it."""
    low = call.get("min_val", call.get("min"))
    high = call.get("max_val", call.get("max"))
    return {} if (low, high) == (0, 6) else None


#: Codes stay on their grid.
_ONE = torch.tensor(1.0, dtype=torch.float64)


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any shape."""
    return F.relu6(x["input"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Codes between those of 0 and 6."""
    return codes["input"].clamp(*activation_limits("relu6", grids["input"]))


def samples() -> Iterable[Sample]:
    """Every code, 6 inside and outside the range."""
    codes = np.arange(-128, 128, dtype=np.int8).reshape(8, 32)
    for scale, zero_point in [(0.05, -100), (0.01, -7), (0.5, 3), (0.09, -128)]:
        grid = QParams((float(np.float32(scale)),), (zero_point,))
        yield Sample(f"int8 {scale}@{zero_point}", {}, {"input": codes}, {"input": grid, "output": grid})
    grid = QParams((float(np.float32(3e-4)),), (0,), "int16")
    wide = np.linspace(-(2**15), 2**15 - 1, 512).astype(np.int16).reshape(8, 64)
    yield Sample("int16", {}, {"input": wide}, {"input": grid, "output": grid})


ROW = Row(
    name="relu6",
    roles=("input",),
    matches=(
        Match("module", nn.ReLU6),
        Match("aten", "relu6"),
        Match("module", nn.Hardtanh, clamped),
        *(Match("aten", name, clamped) for name in ("hardtanh", "clamp", "clip")),
    ),
    forward=forward,
    constraints={"input": Free(("int8", "int16"), smallest=SMALLEST_RELU6_SCALE), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(operator="RELU6", resolver="AddRelu6", version=lambda qparams: 2),
    onnx=Onnx(lambda operands: (clamped_to_6("input"),), NEAREST),
    shapes=same_shape,
    rows=same_row,
    samples=samples,
    c=by_table(reference, rescaling(lambda attrs, grids: (_ONE, _ONE), "relu6")),
    by_table=True,
    most_axes=6,
    transposed=any_order,
)
