"""MAXIMUM of two tensors on one grid: the larger code.

Source: TFLM ``micro/kernels/maximum_minimum.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from qtorch.families.arithmetic import extremum_kernel, extremum_matches, shared_grid_samples
from qtorch.families.shape_rules import broadcast
from qtorch.families.whole_numbers import whole_or
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Row, Sample, TFLite, any_order


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Shapes broadcast."""
    return torch.maximum(x["input"], x["other"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def samples() -> Iterable[Sample]:
    """See :func:`qtorch.families.arithmetic.shared_grid_samples`."""
    return shared_grid_samples(13)


ROW = Row(
    name="maximum",
    roles=("input", "other"),
    runtime=2,
    matches=extremum_matches("maximum", "max"),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16"), whole=True),
        "other": SameAs("input"),
        "output": SameAs("input"),
    },
    reference=reference,
    tflite=TFLite(
        operator="MAXIMUM",
        resolver="AddMaximum",
        version=lambda qparams: 2,
        options="MaximumMinimumOptions",
    ),
    onnx=one_operator("Max", lsb={}),
    shapes=broadcast,
    rows=same_row,
    samples=samples,
    c=whole_or("maximum", extremum_kernel(reference, largest=True)),
    selects=True,
    transposed=any_order,
)
