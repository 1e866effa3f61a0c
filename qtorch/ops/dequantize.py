"""DEQUANTIZE, integers to float32: before a layer left in float, at the output of a model with a float interface.

Source: TFLM ``kernels/internal/reference/dequantize.h``: product in double, rounded once to float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from qtorch.families.shape_rules import same_shape
from qtorch.numbers import functional
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, Real
from qtorch.row.onnx_form import Onnx
from qtorch.row.row import Attrs, Row, Sample, TFLite, Unsupported, any_order


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """The identity: in training every tensor already carries real values."""
    return x["input"]


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """int64 codes in, float32 out."""
    return functional.dequantize(codes["input"], grids["input"])


def samples() -> Iterable[Sample]:
    """Every code, or many, at scales that float32 can't hold products of exactly."""
    codes = np.arange(-128, 128, dtype=np.int8)[:, None]
    for scale, zero_point in [(0.1, 0), (1 / 3, -128), (1e-5, 127), (7.7, 13)]:
        qparams = {"input": QParams((float(np.float32(scale)),), (zero_point,)), "output": None}
        yield Sample(f"{scale:.4f}@{zero_point}", {}, {"input": codes}, qparams)
    wide = np.linspace(-(2**15), 2**15 - 1, 512).astype(np.int16).reshape(8, 64)
    qparams = {"input": QParams((float(np.float32(1 / 3000)),), (0,), "int16"), "output": None}
    yield Sample("int16", {}, {"input": wide}, qparams)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """3 from int16, and from the float16 of constants; 2 from int8."""
    source = qparams["input"]
    return 2 if source is not None and source.dtype == "int8" else 3


ROW = Row(
    name="dequantize",
    roles=("input",),
    matches=(),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "output": Real()},
    reference=reference,
    tflite=TFLite(operator="DEQUANTIZE", resolver="AddDequantize", version=version),
    onnx=Onnx(lambda operands: ()),
    shapes=same_shape,
    samples=samples,
    c=Unsupported("its output is float32, and C models compute in integers alone"),
    # As many as the shapes of TFLM's kernels can have.
    most_axes=6,
    transposed=any_order,
)
