"""ADD, int8 and int16, with broadcasting and a constant on either side.

Source: TFLM ``kernels/internal/reference/integer_ops/add.h``, ``micro/kernels/add_common.cc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from qtorch.c_cells.broadcasting import table_or
from qtorch.families.arithmetic import (
    binary_matches,
    binary_samples,
    rescaled_sum,
    sum_in_steps,
    sum_kernel,
    sum_output,
)
from qtorch.families.shape_rules import broadcast
from qtorch.families.whole_numbers import are_whole, of_whole_numbers, whole_or
from qtorch.numbers.fixedpoint import Rounding
from qtorch.numbers.grid import Grid
from qtorch.numbers.qparams import QParams
from qtorch.row.constraints import Free
from qtorch.row.fused_activation import FUSED_ACTIVATIONS, activate
from qtorch.row.image_rows import same_row
from qtorch.row.onnx_form import one_operator
from qtorch.row.row import Attrs, OptionField, Row, Sample, TFLite, any_order


def forward(attrs: Attrs, x: Mapping[str, Tensor]) -> Tensor:
    """Shapes broadcast."""
    return activate(attrs["activation"], x["input"] + x["other"])


def reference(attrs: Attrs, codes: Mapping[str, Tensor], grids: Mapping[str, Grid], rounding: Rounding) -> Tensor:
    """Three requantizations, quotients of scales in double; rounds twice in LiteRT as well."""
    if are_whole(grids):
        return of_whole_numbers("add", attrs, codes)
    return rescaled_sum(attrs, codes, grids, 1)


def version(qparams: Mapping[str, QParams | None]) -> int:
    """2 reads int8 and int16."""
    return 2


def samples() -> Iterable[Sample]:
    """See :func:`qtorch.families.arithmetic.binary_samples`."""
    return binary_samples(10)


ROW = Row(
    name="add",
    roles=("input", "other"),
    runtime=2,
    matches=binary_matches("add"),
    forward=forward,
    constraints={
        "input": Free(("int8", "int16"), whole=True),
        "other": Free(("int8", "int16"), whole=True),
        "output": sum_output(),
    },
    reference=reference,
    tflite=TFLite(
        operator="ADD",
        resolver="AddAdd",
        version=version,
        options="AddOptions",
        fields=(OptionField("activation", "FusedActivationFunction", "ActivationFunctionType"),),
        # LiteRT takes another way for int16 whose scales are powers of two; TFLM has none.
        unread=frozenset({"PotScaleInt16"}),
    ),
    onnx=one_operator("Add"),
    shapes=broadcast,
    rows=same_row,
    samples=samples,
    c=whole_or("add", table_or(reference, sum_kernel(1))),
    in_steps=sum_in_steps(1),
    fusable=FUSED_ACTIVATIONS,
    transposed=any_order,
)
