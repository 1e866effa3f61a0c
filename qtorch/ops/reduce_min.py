"""REDUCE_MIN over some axes: the smallest code, on the input's grid; int8 alone.

Source: TFLM ``micro/kernels/reduce_common.cc``, ``EvalMinMaxHelper``, which refuses other grids and types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from qtorch.families.reductions import (
    extremum_attributes,
    extremum_over_axes_kernel,
    extremum_samples,
    homogeneous,
    kept,
    reduced,
    reduction_in_floats,
    reduction_operator,
    rows_of_reduction,
    transposed,
)
from qtorch.families.shape_rules import axes_once_from_front
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.remedies.axes import SAMPLES
from qtorch.row.constraints import Free, SameAs
from qtorch.row.row import Attrs, Match, Row, Sample


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Any rank."""
    return x["input"].amin(attrs["axes"], keepdim=attrs["keep_dims"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """As :func:`forward`."""
    return forward(attrs, codes)


def samples() -> Iterable[Sample]:
    """See :func:`qtorch.families.reductions.extremum_samples`."""
    return extremum_samples(34)


ROW = Row(
    name="reduce_min",
    roles=("input",),
    matches=(Match("aten", "amin", extremum_attributes),),
    forward=forward,
    constraints={"input": Free(), "output": SameAs("input")},
    reference=reference,
    tflite=reduction_operator("REDUCE_MIN", "AddReduceMin"),
    onnx=reduction_in_floats("ReduceMin", {}),
    shapes=reduced,
    normalized=axes_once_from_front,
    samples=samples,
    rows=rows_of_reduction,
    c=extremum_over_axes_kernel(largest=False),
    selects=True,
    transposed=transposed,
    kept=kept,
    homogeneous=homogeneous,
    remedies={"amin": lambda ask: SAMPLES},
)
