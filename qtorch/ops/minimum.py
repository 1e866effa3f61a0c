"""MINIMUM of two tensors on one grid: the smaller code. Masked scores are the smaller of them and limits at both ends.

Source: TFLM ``micro/kernels/maximum_minimum.h``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from qtorch.families.arithmetic import extremum_kernel, extremum_matches, shared_grid_samples
from qtorch.families.masked_scores import masked_scores, measured_scores
from qtorch.families.shape_rules import broadcast
from qtorch.families.whole_numbers import whole_or
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.row.constraints import Free, SameAs
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, Call, Match, Row, Sample, TFLite, any_order

_NUMBERS = ("room", "filled", "added")


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Shapes broadcast."""
    return masked_scores(x["input"], x["other"], **attrs) if attrs else torch.minimum(x["input"], x["other"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """The smaller code; limits beyond the grid are its ends."""
    return torch.minimum(codes["input"], codes["other"])


def measured(attrs: Attrs, y: Tensor, x: Mapping[str, Tensor]) -> Tensor:
    """See :func:`qtorch.families.masked_scores.measured_scores`."""
    return measured_scores(torch.minimum(x["input"], x["other"]), attrs["room"]) if "room" in attrs else y


def room(call: Call) -> dict[str, Any]:
    """Of masked scores, and what the file needs not say: how far below all others they are; what they are in floats."""
    numbers = {name: call.get(name) for name in _NUMBERS}
    return {name: float(number) for name, number in numbers.items() if number is not None}


def samples() -> Iterable[Sample]:
    """See :func:`qtorch.families.arithmetic.shared_grid_samples`."""
    return shared_grid_samples(13)


ROW = Row(
    name="minimum",
    roles=("input", "other"),
    runtime=2,
    matches=(
        *extremum_matches("minimum", "min"),
        Match("function", masked_scores, room, ("input", "other", *_NUMBERS), tensors=2, written=("masked_fill",)),
    ),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16"), whole=True),
        "other": SameAs("input"),
        "output": SameAs("input"),
    },
    reference=reference,
    tflite=TFLite(
        operator="MINIMUM",
        resolver="AddMinimum",
        version=lambda qparams: 2,
        options="MaximumMinimumOptions",
    ),
    onnx=one_operator("Min", lsb={}),
    shapes=broadcast,
    rows=same_row,
    samples=samples,
    c=whole_or("minimum", extremum_kernel(reference, largest=False)),
    selects=True,
    measured=measured,
    transposed=any_order,
)
