"""QUANTIZE, float32 to int8, at the input of a model with a float interface.

Source: TFLM ``kernels/internal/reference/quantize.h``: float32 division, half away from zero, clamp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor

from qtorch import functional
from qtorch.constraints import Free, Real
from qtorch.fixedpoint import Rounding
from qtorch.qparams import Grid, QParams
from qtorch.row import Attrs, Row, Sample, TFLite, Unsupported


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """The identity: in training the quantizer of the tensor does the work."""
    return x["input"]


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """float32 in, int64 codes out."""
    return functional.quantize(codes["input"], grids["output"], -128, 127)


def samples() -> Iterable[Sample]:
    """Values on ties, next to ties, out of range and at random."""
    rng = np.random.default_rng(1)
    for scale, zero_point in [(0.5, 0), (0.1, -128), (1 / 255, 127), (0.0123, -7)]:
        step = np.float32(scale)
        ties = (np.arange(-40, 40, dtype=np.float32) + np.float32(0.5)) * step
        near = np.concatenate([np.nextafter(ties, np.float32(-9e9)), np.nextafter(ties, np.float32(9e9))])
        wide = rng.normal(0, 200 * scale, 160).astype(np.float32)
        x = np.concatenate([ties, near, wide, np.array([0, -0.0, 1e9 * scale, -1e9 * scale], np.float32)])[:, None]
        yield Sample(
            f"{scale:.4f}@{zero_point}",
            {},
            {"input": x},
            {"input": None, "output": QParams((float(step),), (zero_point,))},
        )


ROW = Row(
    name="quantize",
    roles=("input",),
    matches=(),
    forward=forward,
    constraints={"input": Real(), "output": Free()},
    reference=reference,
    tflite=TFLite(operator="QUANTIZE", resolver="AddQuantize", version=lambda qparams: 1),
    onnx=Unsupported("the ONNX writer does not exist yet"),
    c=Unsupported("the C kernels do not exist yet"),
    samples=samples,
)
