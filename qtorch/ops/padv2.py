"""PADV2: PAD with a code of one's own, for poolings whose padding must never win.

Source: TFLM ``micro/kernels/pad_common.cc``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from qtorch.c_cells.movement import padding_kernel
from qtorch.families.shape_rules import padded_shapes
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import padded_rows
from qtorch.row.kernel_call import KernelCall, Operands
from qtorch.row.onnx_form import Onnx, OnnxNode
from qtorch.row.row import Attrs, Operand, Row, Sample, Shape, TFLite
from qtorch.row.shape_rule import require


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank; ``value`` has one element."""
    ends = [n for pair in reversed(attrs["paddings"]) for n in pair]
    return F.pad(x["input"], ends, value=x["value"].item())


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def kernel(operands: Operands) -> tuple[KernelCall, ...]:
    """Its own code around a copy."""
    return padding_kernel(operands, int(operands.constants["value"].item()))


def samples() -> Iterable[Sample]:
    """The lowest code around an image."""
    rng = np.random.default_rng(6)
    for dtype, lowest in [("int8", -128), ("int16", -(2**15))]:
        grid = QParams((0.5,), (3 if dtype == "int8" else 0,), dtype)
        arrays = {"input": rng.integers(-100, 100, (2, 3, 4, 2), dtype=dtype), "value": np.array([lowest], dtype)}
        attrs = {"paddings": ((0, 0), (1, 0), (0, 3), (0, 0))}
        yield Sample(dtype, attrs, arrays, {"input": grid, "value": grid, "output": grid})


def onnx_form(operands: Operands) -> list[OnnxNode]:
    """All beginnings, then all ends; the value as a number without axes."""
    ends = np.array(operands.attrs["paddings"], np.int64).T.reshape(-1)
    scalar = OnnxNode("Squeeze", ("value",), ("number",))
    return [scalar, OnnxNode("Pad", ("input", ends, "number"))]


def shapes_padded_with(attrs: Attrs, shapes: Mapping[str, Shape]) -> tuple[Shape, ...]:
    """As :func:`qtorch.families.shape_rules.padded_shapes`; ``value`` has one element.

    Raises:
        BadShape: the paddings are none of that shape, or there are more elements.
    """
    require(math.prod(shapes["value"]) == 1, "a value of one element", f"shape {shapes['value']}")
    return padded_shapes(attrs, shapes)


ROW = Row(
    name="padv2",
    roles=("input", "value"),
    matches=(),
    forward=forward,
    constraints={"input": Free(("int8", "int16")), "value": SameAs("input"), "output": SameAs("input")},
    reference=reference,
    tflite=TFLite(
        operator="PADV2",
        resolver="AddPadV2",
        version=lambda qparams: 2,
        options="PadV2Options",
        operands=(Operand("paddings", 1),),
    ),
    onnx=Onnx(onnx_form),
    shapes=shapes_padded_with,
    rows=padded_rows,
    samples=samples,
    c=kernel,
    selects=True,
)
